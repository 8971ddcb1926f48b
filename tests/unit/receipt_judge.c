/*
 * receipt_judge: receipts of several configurations, each judged by its own: what the chain does
 * not reach is not judged, and the links that a receipt's file takes along lead there (protocol §8,
 * §9). And files of many receipts, with links in front.
 */
#include "host/receipt_judge.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/receipts_file.h"
#include "tests/forge/bundle.h"
#include "tests/forge/reform.h"
#include "tests/forge/story.h"

#define CONFIGURATIONS 3u

static struct consortium consortium;
static struct forge forge;
static struct reform reform;
static struct story story;
static struct chain *chain;
static struct receipt_judge judge;
static struct arena arena;
static struct buffer receipts[CONFIGURATIONS]; /* one of each configuration */
static uint64_t paid[CONFIGURATIONS];          /* the batches that they are of */
static struct buffer file;

static struct chain *founding_chain(void) {
    struct problem problem = {.code = EXIT_OK};
    struct chain *const made =
        chain_new(&reform.constitutions[0].service, consortium.genesis.bytes, &problem);
    cr_assert_not_null(made, "%s", problem.text);
    return made;
}

/* A batch with a payment in it, and the receipt of its first call. */
static void pay(uint32_t which) {
    struct buffer *const receipt = &receipts[which];
    story_append_honest(&story, 1);
    paid[which] = forge_seq(&forge);
    buffer_init(receipt, RECEIPT_SIZE_MAX);
    forge_receipt(&forge, &(struct forge_place){.seq = forge_seq(&forge)}, receipt);
}

static void set_up(void) {
    consortium_found(&consortium, &(struct consortium_options){0});
    forge_init(&forge, &consortium);
    reform_init(&reform, &forge);
    story = (struct story){.forge = &forge, .random = 7};
    pay(0);
    for (uint32_t i = 1; i < CONFIGURATIONS; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "user-%u", i);
        struct action const actions[] = {
            charter_named(&reform.charter, ACTION_ADD_USER, name, 7000 + i),
            charter_replica(&reform.charter, &reform.charter.now.replicas[i].identity.key, "bank-a",
                            7100 + i)};
        reform_end(&reform, 2, actions);
        reform_start(&reform);
        pay(i);
    }
    chain = founding_chain();
    receipt_judge_init(&judge, chain);
    arena_init(&arena, 4u << 20);
    buffer_init(&file, RECEIPT_LINKED_FILE_SIZE_MAX);
}

static void tear_down(void) {
    buffer_free(&file);
    arena_free(&arena);
    chain_free(chain);
    for (uint32_t i = 0; i < CONFIGURATIONS; i++) {
        buffer_free(&receipts[i]);
    }
    reform_free(&reform);
    forge_free(&forge);
    consortium_free(&consortium);
}

TestSuite(receipt_judge, .init = set_up, .fini = tear_down, .timeout = 60);

static enum receipt_check verdict(uint32_t which) {
    struct verified_receipt verified;
    uint64_t config = 99;
    arena_reset(&arena);
    enum receipt_check const check =
        receipt_judge_verify(&judge, &verified, &config, &arena, buffer_span(&receipts[which]));
    cr_assert_eq(config, which + 1);
    return check;
}

static void add_link(uint32_t nth) {
    cr_assert_eq(chain_add(chain, reform.links[nth]).check, CHAIN_VALID);
}

Test(receipt_judge, each_by_its_own_configuration) {
    cr_assert_eq(verdict(0), RECEIPT_VALID);
    cr_assert_eq(verdict(1), RECEIPT_CONFIGURATION);
    add_link(0);
    cr_assert_eq(verdict(1), RECEIPT_VALID);
    cr_assert_eq(verdict(2), RECEIPT_CONFIGURATION);
    add_link(1);
    for (uint32_t i = 0; i < 3 * CONFIGURATIONS; i++) {
        cr_assert_eq(verdict(i % CONFIGURATIONS), RECEIPT_VALID);
    }
}

/* A change of a bit anywhere: never valid, whatever configuration it then states. */
Test(receipt_judge, nothing_changed_is_valid) {
    add_link(0);
    add_link(1);
    struct verified_receipt verified;
    uint64_t config = 0;
    for (size_t at = 0; at < receipts[1].size; at += 7) {
        receipts[1].data[at] ^= 4;
        arena_reset(&arena);
        cr_assert_neq(
            receipt_judge_verify(&judge, &verified, &config, &arena, buffer_span(&receipts[1])),
            RECEIPT_VALID, "byte %zu", at);
        receipts[1].data[at] ^= 4;
    }
    cr_assert_eq(verdict(1), RECEIPT_VALID);
}

/* Who was replaced signs on in the configuration that replaced it. */
Test(receipt_judge, keys_of_before_do_not_count) {
    uint32_t const replaced = CONFIGURATIONS - 1;
    add_link(0);
    add_link(1);
    reform.consortiums[1].replicas[replaced].signing =
        reform.consortiums[0].replicas[replaced].signing;
    forge.signers = 0x7;
    story_append(&story, 1, 1, RULE_NONE);
    buffer_clear(&receipts[2]);
    forge_receipt(&forge, &(struct forge_place){.seq = forge_seq(&forge)}, &receipts[2]);
    cr_assert_eq(verdict(2), RECEIPT_PREPARE_SIGNATURE);
}

Test(receipt_judge, what_does_not_decode_states_nothing) {
    struct verified_receipt verified;
    uint64_t config = 99;
    struct span const junk = span_of(receipts[0].data, receipts[0].size - 1);
    cr_assert_eq(receipt_judge_verify(&judge, &verified, &config, &arena, junk), RECEIPT_ENCODING);
    cr_assert_eq(config, 0);
}

static void make_file(uint32_t which, uint32_t link_count) {
    buffer_clear(&file);
    cr_assert(receipt_file_begin_linked(&file, buffer_span(&receipts[which])));
    for (uint32_t i = 0; i < link_count; i++) {
        cr_assert(receipt_file_add_link(&file, reform.links[i]));
    }
}

Test(receipt_judge, a_file_takes_its_links_along) {
    struct span receipt;
    struct span links;
    make_file(2, 2);
    cr_assert(receipt_file_open(&receipt, &links, buffer_span(&file)));
    cr_assert(span_equal(receipt, buffer_span(&receipts[2])));
    cr_assert_eq(receipt_judge_take_links(&judge, links), CHAIN_VALID);
    cr_assert_eq(receipt_judge_take_links(&judge, links), CHAIN_VALID, "twice is no harm");
    cr_assert_eq(verdict(2), RECEIPT_VALID);
    cr_assert(receipt_file_decode(&receipt, buffer_span(&file)), "who has the chain needs no link");
    cr_assert(span_equal(receipt, buffer_span(&receipts[2])));
}

Test(receipt_judge, a_file_of_the_first_kind_has_no_links) {
    struct span receipt;
    struct span links = reform.links[0];
    cr_assert(receipt_file_encode(&file, buffer_span(&receipts[0])));
    cr_assert(receipt_file_open(&receipt, &links, buffer_span(&file)));
    cr_assert_eq(links.size, 0);
    cr_assert_eq(receipt_judge_take_links(&judge, links), CHAIN_VALID);
    cr_assert_eq(verdict(0), RECEIPT_VALID);
}

Test(receipt_judge, links_that_do_not_hold_lead_nowhere) {
    struct span receipt;
    struct span links;
    make_file(1, 1);
    file.data[file.size - 40] ^= 1;
    cr_assert(receipt_file_open(&receipt, &links, buffer_span(&file)));
    cr_assert_neq(receipt_judge_take_links(&judge, links), CHAIN_VALID);
    cr_assert_eq(verdict(1), RECEIPT_CONFIGURATION);
    /* The second link alone leads to no configuration that is known. */
    buffer_clear(&file);
    cr_assert(receipt_file_begin_linked(&file, buffer_span(&receipts[2])));
    cr_assert(receipt_file_add_link(&file, reform.links[1]));
    cr_assert(receipt_file_open(&receipt, &links, buffer_span(&file)));
    cr_assert_eq(receipt_judge_take_links(&judge, links), CHAIN_GAP);
}

/* Wherever a file is cut, nothing is taken that is not there. */
Test(receipt_judge, a_file_that_is_cut_short) {
    make_file(1, 2);
    for (size_t size = 0; size < file.size; size += size < 40 ? 1 : 97) {
        struct span receipt;
        struct span links;
        struct span link;
        int more = 0;
        if (!receipt_file_open(&receipt, &links, span_of(file.data, size))) {
            continue;
        }
        cr_assert(span_equal(receipt, buffer_span(&receipts[1])));
        while ((more = receipt_file_next_link(&links, &link)) == 1) {
            cr_assert_leq(link.size, CHAIN_LINK_SIZE_MAX);
        }
        size_t const first_end = sizeof RECEIPT_LINKED_FILE_MAGIC - 1 + 4 + receipts[1].size;
        bool const at_border = size == first_end || size == first_end + 4 + reform.links[0].size;
        cr_assert_eq(more, at_border ? 0 : -1, "cut to %zu", size);
    }
}

/* A size that says more than there may be, or than there is. */
Test(receipt_judge, sizes_that_are_too_large) {
    struct span receipt;
    struct span links;
    struct span link;
    size_t const at = sizeof RECEIPT_LINKED_FILE_MAGIC - 1;
    make_file(1, 1);
    size_t const second = at + 4 + receipts[1].size;
    uint8_t *const room = buffer_extend(&file, RECEIPT_SIZE_MAX + CHAIN_LINK_SIZE_MAX);
    cr_assert_not_null(room);
    memset(room, 0, RECEIPT_SIZE_MAX + CHAIN_LINK_SIZE_MAX);
    store_u32_be(file.data + second, CHAIN_LINK_SIZE_MAX + 1);
    cr_assert(receipt_file_open(&receipt, &links, buffer_span(&file)));
    cr_assert_eq(receipt_file_next_link(&links, &link), -1, "though as much is there");
    cr_assert_eq(receipt_judge_take_links(&judge, links), CHAIN_ENCODING);
    store_u32_be(file.data + second, UINT32_MAX);
    cr_assert_eq(receipt_judge_take_links(&judge, links), CHAIN_ENCODING);
    store_u32_be(file.data + at, RECEIPT_SIZE_MAX + 1);
    cr_assert(!receipt_file_open(&receipt, &links, buffer_span(&file)));
    store_u32_be(file.data + at, UINT32_MAX);
    cr_assert(!receipt_file_open(&receipt, &links, buffer_span(&file)));
}

/* Known links are harmless, but each costs signatures: so many and no more. */
Test(receipt_judge, no_more_links_than_a_chain_has) {
    struct span receipt;
    struct span links;
    make_file(1, 1);
    for (uint32_t i = 1; i <= CHAIN_LINKS_MAX; i++) {
        cr_assert(receipt_file_add_link(&file, reform.links[0]));
    }
    cr_assert(receipt_file_open(&receipt, &links, buffer_span(&file)));
    cr_assert_eq(receipt_judge_take_links(&judge, links), CHAIN_ENCODING);
}

/* ---- many receipts in one file ---- */

struct taken {
    uint32_t count;
    struct chain *chain;
};

static void take_link(void *context, struct span link) {
    struct taken *const taken = context;
    taken->count++;
    cr_assert_eq(chain_add(taken->chain, link).check, CHAIN_VALID);
}

static FILE *written(uint32_t link_count) {
    struct receipts_writer writer;
    FILE *const out = tmpfile();
    cr_assert_not_null(out);
    cr_assert(receipts_write_begin(&writer, out, &reform.constitutions[0].service));
    for (uint32_t i = 0; i < link_count; i++) {
        cr_assert(receipts_write_link(&writer, reform.links[i]));
    }
    return out;
}

static int read_all(FILE *in, struct taken *taken) {
    struct receipts_reader reader;
    struct problem problem = {.code = EXIT_OK};
    struct span bundle;
    struct span certificate;
    rewind(in);
    int more = receipts_read_begin(&reader, in, "file", &reform.constitutions[0].service, &problem);
    reader.link = take_link;
    reader.link_context = taken;
    while (more == 0 && (more = receipts_read(&reader, &bundle, &certificate, &problem)) == 1) {
        more = 0;
    }
    receipts_read_free(&reader);
    return more;
}

static void put_record(FILE *out, uint8_t kind, uint32_t size, struct span payload) {
    uint8_t header[5] = {kind};
    store_u32_be(header + 1, size);
    cr_assert_eq(fwrite(header, sizeof header, 1, out), 1);
    cr_assert(payload.size == 0 || fwrite(payload.data, payload.size, 1, out) == 1);
}

Test(receipt_judge, many_receipts_with_links) {
    struct taken taken = {.chain = chain};
    FILE *const out = written(2);
    struct receipts_writer writer = {.out = out};
    cr_assert(receipts_write_end(&writer));
    cr_assert_eq(read_all(out, &taken), 0);
    cr_assert_eq(taken.count, 2);
    cr_assert_eq(verdict(2), RECEIPT_VALID);
    (void)fclose(out);
}

Test(receipt_judge, a_link_that_is_too_large) {
    struct taken taken = {.chain = chain};
    FILE *const out = written(0);
    put_record(out, 4, CHAIN_LINK_SIZE_MAX + 1, (struct span){0});
    cr_assert_eq(read_all(out, &taken), -1);
    cr_assert_eq(taken.count, 0);
    (void)fclose(out);
}

Test(receipt_judge, a_link_behind_a_certificate) {
    struct taken taken = {.chain = chain};
    FILE *const out = written(0);
    put_record(out, 1, 3, span_text("abc"));
    put_record(out, 4, (uint32_t)reform.links[0].size, reform.links[0]);
    cr_assert_eq(read_all(out, &taken), -1);
    cr_assert_eq(taken.count, 0);
    (void)fclose(out);
}

/* Even when an empty certificate takes the place of the first. */
Test(receipt_judge, a_link_behind_an_empty_certificate) {
    struct taken taken = {.chain = chain};
    FILE *const out = written(0);
    put_record(out, 1, 3, span_text("abc"));
    put_record(out, 1, 0, (struct span){0});
    put_record(out, 4, (uint32_t)reform.links[0].size, reform.links[0]);
    cr_assert_eq(read_all(out, &taken), -1);
    cr_assert_eq(taken.count, 0);
    (void)fclose(out);
}

static void pass_link(void *context, struct span link) {
    uint32_t *const count = context;
    cr_assert_eq(link.size, 1);
    ++*count;
}

Test(receipt_judge, no_more_link_records_than_a_chain_has) {
    struct receipts_reader reader;
    struct problem problem = {.code = EXIT_OK};
    struct span bundle;
    struct span certificate;
    uint32_t count = 0;
    FILE *const out = written(0);
    for (uint32_t i = 0; i <= CHAIN_LINKS_MAX; i++) {
        put_record(out, 4, 1, span_text("x"));
    }
    rewind(out);
    cr_assert_eq(
        receipts_read_begin(&reader, out, "file", &reform.constitutions[0].service, &problem), 0);
    reader.link = pass_link;
    reader.link_context = &count;
    cr_assert_eq(receipts_read(&reader, &bundle, &certificate, &problem), -1);
    cr_assert_eq(problem.code, EXIT_INVALID);
    cr_assert_eq(count, CHAIN_LINKS_MAX);
    receipts_read_free(&reader);
    (void)fclose(out);
}

/* ---- all receipts of a request at once ---- */

struct kept {
    struct buffer bundle;
    struct buffer certificate;
};

static void keep_all(struct kept *kept) {
    for (uint32_t i = 0; i < CONFIGURATIONS; i++) {
        buffer_init(&kept[i].bundle, RECEIPT_BUNDLE_SIZE_MAX);
        buffer_init(&kept[i].certificate, COMMIT_CERTIFICATE_SIZE_MAX);
        forge_bundle(&forge, paid[i], 0, &kept[i].bundle);
        forge_certificate(&forge, paid[i], &kept[i].certificate);
    }
}

static void free_all(struct kept *kept) {
    for (uint32_t i = 0; i < CONFIGURATIONS; i++) {
        buffer_free(&kept[i].bundle);
        buffer_free(&kept[i].certificate);
    }
}

static enum receipt_check judged(struct bundle_verifier *verifier, const struct kept *bundle,
                                 const struct kept *certificate) {
    return bundle_verify(verifier, buffer_span(&bundle->bundle),
                         buffer_span(&certificate->certificate));
}

Test(receipt_judge, bundles_follow_the_chain) {
    struct kept kept[CONFIGURATIONS];
    struct bundle_verifier *const verifier = calloc(1, sizeof *verifier);
    cr_assert_not_null(verifier);
    keep_all(kept);
    bundle_verifier_init(verifier, &consortium.configuration);
    cr_assert_eq(judged(verifier, &kept[0], &kept[0]), RECEIPT_VALID);
    cr_assert_eq(judged(verifier, &kept[1], &kept[1]), RECEIPT_CONFIGURATION, "there is no chain");
    bundle_verifier_follow(verifier, chain);
    cr_assert_eq(judged(verifier, &kept[1], &kept[1]), RECEIPT_CONFIGURATION);
    cr_assert_eq(judged(verifier, &kept[0], &kept[0]), RECEIPT_VALID);
    add_link(0); /* it grows in between */
    cr_assert_eq(judged(verifier, &kept[1], &kept[1]), RECEIPT_VALID);
    cr_assert_eq(judged(verifier, &kept[2], &kept[2]), RECEIPT_CONFIGURATION);
    cr_assert_eq(judged(verifier, &kept[1], &kept[1]), RECEIPT_VALID);
    add_link(1);
    for (uint32_t i = 0; i < 3 * CONFIGURATIONS; i++) {
        const struct kept *const one = &kept[i % CONFIGURATIONS];
        const struct kept *const other = &kept[(i + 1) % CONFIGURATIONS];
        cr_assert_eq(judged(verifier, one, one), RECEIPT_VALID);
        cr_assert_eq(judged(verifier, one, one), RECEIPT_VALID, "by what is remembered");
        cr_assert_neq(judged(verifier, one, other), RECEIPT_VALID, "of another batch");
    }
    bundle_verifier_free(verifier);
    free(verifier);
    free_all(kept);
}
