/*
 * fetcher: what becomes of demands (audit-tool/fetcher.h), held against a server of our own that
 * answers over real links, honestly or with a lie: what it hands over is kept and gone on with, a
 * range that it signed for and that is none convicts it, and whatever anybody could have sent
 * convicts nobody.
 */
#include "audit-tool/fetcher.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "audit-tool/proof.h"
#include "consensus/join.h"
#include "execution/state_parts.h"
#include "host/clock.h"
#include "ledger/served.h"
#include "tests/forge/reform.h"
#include "tests/unit/fetch_fixture.h"

#define UNITS_SERVED 3u /* so that a ledger takes several answers */

struct consortium consortium;
struct forge forge;

struct offered offered;
struct story story;
struct founding founding;
struct eras known;
char directory[64];
char out[128];

struct server server;

/* ---- the server ------------------------------------------------------------------------------ */

static bool begins_unit(const struct forge *from, uint64_t index) {
    enum entry_kind const kind = forge_entry_at(from, index).kind;
    enum entry_kind const before =
        index == 0 ? ENTRY_GENESIS : forge_entry_at(from, index - 1).kind;
    return kind != ENTRY_REQUEST && kind != ENTRY_NEW_VIEW &&
           !(kind == ENTRY_PRE_PREPARE && before == ENTRY_EVIDENCE);
}

static uint64_t end_of_range(const struct forge *from, uint64_t first) {
    unsigned units = 0;
    for (uint64_t index = first; index < forge_entry_count(from); index++) {
        units += begins_unit(from, index) ? 1 : 0;
        if (units > UNITS_SERVED) {
            return index;
        }
    }
    return forge_entry_count(from);
}

/* Entries [first, end) as a payload. */
static void encode_range(struct buffer *payload, uint64_t first, uint64_t end) {
    struct entry *const entries = calloc(end - first + 1, sizeof *entries);
    cr_assert(entries != NULL);
    for (uint64_t index = first; index < end; index++) {
        entries[index - first] = forge_entry_at(server.forge, index);
    }
    struct range_message const message = {
        .first_entry = first, .count = (uint32_t)(end - first), .entries = entries};
    cr_assert(range_message_encode(payload, &message));
    free(entries);
}

static void reject(struct link *link, const struct digest *id, enum reject_reason reason) {
    struct buffer bytes;
    buffer_init(&bytes, 4096);
    struct reject_message const message = {.request_id = *id, .reason = reason};
    cr_assert(reject_message_encode(&bytes, &message));
    struct span const payload = buffer_span(&bytes);
    cr_assert_eq(link_send(link, MESSAGE_REJECT, &payload, 1), LINK_OK);
    buffer_free(&bytes);
}

static void send_signed(struct link *link, const struct served *served, struct span payload) {
    const struct key_pair *const signer =
        &consortium.replicas[server.lie == OTHERS_SIGNATURE ? OTHER : SERVER].signing;
    struct buffer body;
    struct buffer bytes;
    buffer_init(&body, STATEMENT_SIZE_MAX);
    buffer_init(&bytes, FRAME_SIZE_MAX);
    cr_assert(served_encode(&body, served));
    struct served_message const message = {
        .statement = {.body = buffer_span(&body),
                      .signature =
                          sign_labelled(&signer->secret, &signer->key, LABEL_SERVED_RANGE,
                                        &consortium.configuration.service, buffer_span(&body))},
        .payload = payload,
    };
    cr_assert(served_message_encode(&bytes, &message));
    struct span const frame = server.lie == GARBAGE ? span_text("garbage") : buffer_span(&bytes);
    for (unsigned i = 0; i < (server.lie == TWICE ? 2u : 1u); i++) {
        cr_assert_eq(link_send(link, MESSAGE_SERVED, &frame, 1), LINK_OK);
    }
    buffer_free(&bytes);
    buffer_free(&body);
}

/* ---- the server: a checkpoint ---------------------------------------------------------------- */

static void encode_offer(struct buffer *payload, struct served *served) {
    bool const none = server.lie == NO_OFFER || offered.seq == 0;
    const struct buffer *const offer =
        server.lie == OTHER_OFFER ? &offered.false_offer : &offered.offer;
    served->seq = none ? 0 : offered.seq;
    cr_assert(none ? offer_encode_none(payload) : buffer_append(payload, buffer_span(offer)));
}

static void encode_digests(struct buffer *payload, struct served *served) {
    struct digest *const digests = (void *)offered.digests.data;
    uint32_t const count = (uint32_t)(offered.digests.size / DIGEST_SIZE);
    struct checkpoint_digests_message const message = {
        .seq = served->seq, .first_group = 0, .count = count, .digests = digests};
    cr_assert_eq(served->first, 0);
    served->end = count;
    served->available = count;
    digests[0].bytes[0] ^= server.lie == OTHER_DIGESTS ? 1 : 0;
    cr_assert(checkpoint_digests_message_encode(payload, &message));
    digests[0].bytes[0] ^= server.lie == OTHER_DIGESTS ? 1 : 0;
}

/* One group in each answer. */
static void encode_items(struct buffer *payload, struct served *served) {
    const struct state_item *const items = (const void *)offered.items.data;
    uint64_t const count = offered.items.size / sizeof *items;
    uint64_t const first = served->first * STATE_GROUP_ITEMS;
    uint64_t const left = count > first ? count - first : 0;
    struct state_item group[STATE_GROUP_ITEMS];
    struct checkpoint_items_message message = {
        .seq = served->seq, .first_group = served->first, .items = group};
    message.count = (uint32_t)(left < STATE_GROUP_ITEMS ? left : STATE_GROUP_ITEMS);
    message.count = server.lie == NO_ITEMS ? 0 : message.count;
    for (uint32_t i = 0; i < message.count; i++) {
        group[i] = items[first + i];
    }
    if (server.lie == OTHER_ITEMS) {
        group[0].value = span_text("another");
    }
    served->available = state_group_count(count);
    served->end = served->first + (message.count != 0 ? 1 : 0);
    served->end += server.lie == BAD_NUMBERS ? 1 : 0;
    served->available += server.lie == BAD_NUMBERS ? 1 : 0;
    cr_assert(checkpoint_items_message_encode(payload, &message));
}

static void answer_part(struct link *link, const struct demand *demand, const struct digest *id) {
    struct served served = {.replica = SERVER,
                            .demand = *id,
                            .part = demand->part,
                            .seq = demand->seq,
                            .first = demand->first,
                            .end = demand->first};
    struct buffer payload;
    consortium_state(&consortium, &served);
    buffer_init(&payload, SERVED_PAYLOAD_SIZE_MAX);
    if (demand->part == SERVED_OFFER) {
        encode_offer(&payload, &served);
    } else if (demand->part == SERVED_DIGESTS) {
        encode_digests(&payload, &served);
    } else {
        encode_items(&payload, &served);
    }
    if (server.lie == BAD_CODE) {
        payload.size--;
    }
    served.digest = served_bytes_digest(&consortium.configuration.service, buffer_span(&payload));
    if (server.lie != MUTE_ITEMS || demand->part != SERVED_ITEMS) {
        send_signed(link, &served, buffer_span(&payload));
    }
    buffer_free(&payload);
}

/* The configuration of the batch or new view that begins there. */
static uint64_t config_at(const struct forge *from, uint64_t first) {
    uint64_t config = 0;
    for (uint64_t i = first; config == 0 && i < forge_entry_count(from); i++) {
        struct entry const entry = forge_entry_at(from, i);
        config = entry_config(&entry);
    }
    return config;
}

/* Where the configuration ends in which `first` lies, or the range does. */
static uint64_t end_of_config(const struct forge *from, uint64_t first, uint64_t end) {
    for (uint64_t i = first; i < end; i++) {
        if (begins_unit(from, i) && config_at(from, i) != config_at(from, first)) {
            return i;
        }
    }
    return end;
}

static void state(struct served *served) {
    if (server.reform == NULL) {
        consortium_state(&consortium, served);
        return;
    }
    bool const has_entries = served->part == SERVED_ENTRIES && served->first < served->end;
    reform_state(server.reform,
                 has_entries ? config_at(server.forge, served->first) : server.reform->count + 1,
                 served);
}

static void answer(struct link *link, const struct demand *demand, const struct digest *id) {
    const struct digest *const service = &consortium.configuration.service;
    uint64_t const available = forge_entry_count(server.forge);
    uint64_t const first = server.lie == OTHER_PLACE ? 0 : demand->first;
    uint64_t end = first < available ? end_of_range(server.forge, first) : first;
    struct buffer payload;
    buffer_init(&payload, SERVED_PAYLOAD_SIZE_MAX);
    end = server.lie == NOTHING || first < server.begins ? first : end;
    end = end_of_config(server.forge, first, end);
    end -= server.lie == CUT_SHORT && end - first > 1 ? 1 : 0;
    encode_range(&payload, first, end);
    struct served served = {.replica = server.lie == OTHERS_NAME ? OTHER : SERVER,
                            .demand = *id,
                            .part = SERVED_ENTRIES,
                            .first = first,
                            .end = end,
                            .available = available,
                            .digest = served_bytes_digest(service, buffer_span(&payload))};
    state(&served);
    served.constitution.bytes[0] ^= server.lie == OTHER_NAME ? 1 : 0;
    served.range_constitution.bytes[0] ^=
        server.lie == OTHER_RULES ||
                (server.lie == OTHER_NAME && served.range_config == served.config)
            ? 1
            : 0;
    served.demand.bytes[0] ^= server.lie == OTHER_DEMAND ? 1 : 0;
    if (server.lie == OTHER_BYTES) {
        payload.data[payload.size - 1] ^= 1;
    }
    send_signed(link, &served, buffer_span(&payload));
    buffer_free(&payload);
}

static void on_demand(struct link *link, struct span frame) {
    struct arena arena;
    struct signed_body statement;
    struct demand demand;
    arena_init(&arena, 1u << 16);
    cr_assert_eq(signed_decode(&statement, &arena, frame, 4096), CODEC_OK);
    cr_assert_eq(demand_decode(&demand, &arena, statement.body), CODEC_OK);
    struct digest const id = demand_digest(&consortium.configuration.service, &statement);
    struct sign_check const check = {.key = demand.author,
                                     .signature = statement.signature,
                                     .body = statement.body,
                                     .label = LABEL_DEMAND};
    cr_assert(sign_verify_universal(&consortium.configuration.service, &check));
    cr_assert(public_key_equal(&demand.author, &consortium.users[0].key));
    cr_assert_eq(demand.replica, SERVER);
    server.demands++;
    if (!server.has_first) {
        server.has_first = true;
        server.first = demand.first;
    }
    server.was_busy = !server.was_busy;
    bool const has_place = demand.part != SERVED_ENTRIES ||
                           demand.first >= forge_entry_count(server.forge) ||
                           begins_unit(server.forge, demand.first);
    if (!has_place) {
        reject(link, &id, REJECT_MALFORMED);
    } else if (server.lie == UNKNOWN_AUTHOR) {
        reject(link, &id, REJECT_AUTHOR);
    } else if (server.lie == BUSY && server.was_busy) {
        reject(link, &id, REJECT_BUSY);
    } else if (server.lie == OVERSIZED) {
        struct span const word = span_text("word");
        cr_assert_eq(link_send(link, MESSAGE_RESULT, &word, 1), LINK_OK);
    } else if (server.lie == HANGS_UP) {
        link_close(link, "test");
    } else if (demand.part != SERVED_ENTRIES && server.lie != MUTE) {
        answer_part(link, &demand, &id);
    } else if (server.lie != MUTE) {
        answer(link, &demand, &id);
    }
    arena_free(&arena);
}

static void on_up(struct link *link, void *user) {
    (void)link;
    (void)user;
}

static void on_frame(struct link *link, void *user, uint8_t kind, struct span payload) {
    (void)user;
    cr_assert_eq(kind, MESSAGE_DEMAND);
    on_demand(link, payload);
}

static void on_down(struct link *link, void *user, const char *reason) {
    (void)link;
    (void)user;
    (void)reason;
}

static size_t frame_size_max(uint8_t kind) {
    return kind == MESSAGE_DEMAND ? message_size_max(kind) : 0;
}

static void on_end(uv_async_t *async) {
    link_group_close(server.group);
    uv_close((uv_handle_t *)async, NULL);
}

static void *serve(void *argument) {
    (void)argument;
    (void)uv_run(&server.loop, UV_RUN_DEFAULT);
    return NULL;
}

/* Where those who ask find the server, and whom they expect there. */
static struct replica_identity *server_identity(void) {
    return &known.list[0]->configuration.replicas[SERVER];
}

static void server_certificate(void) {
    static char certificate[96];
    static char key[96];
    struct problem problem = {.code = EXIT_OK};
    struct digest digest;
    (void)snprintf(certificate, sizeof certificate, "%s/tls.crt", directory);
    (void)snprintf(key, sizeof key, "%s/tls.key", directory);
    struct tls_certificate_paths const paths = {.certificate = certificate, .key = key};
    cr_assert_eq(tls_certificate_generate(&digest, &paths, "server", &problem), 0, "%s",
                 problem.text);
    server.certificate = tls_certificate_load(&paths, &problem);
    cr_assert(server.certificate != NULL, "%s", problem.text);
    server_identity()->tls_digest = digest;
}

void know_links(const struct span *links, uint32_t count) {
    cr_assert_eq(eras_follow(&known, buffer_span(&consortium.genesis_bytes), links, count),
                 CHAIN_VALID);
    for (uint64_t i = 1; i < known.count; i++) {
        struct replica_identity *const later = &known.list[i]->configuration.replicas[SERVER];
        later->tls_digest = server_identity()->tls_digest;
        memcpy(later->client_address, server_identity()->client_address, ADDRESS_SIZE_MAX);
    }
}

static void server_start(void) {
    struct problem problem = {.code = EXIT_OK};
    server = (struct server){.forge = &forge};
    server_certificate();
    cr_assert_eq(uv_loop_init(&server.loop), 0);
    cr_assert_eq(uv_async_init(&server.loop, &server.end, on_end), 0);
    struct tls_context_options const tls = {.role = TLS_CLIENT_ACCEPT,
                                            .certificate = server.certificate};
    server.tls = tls_context_create(&tls, &problem);
    struct link_group_options const group = {
        .loop = &server.loop, .connections_max = 16, .memory_max = LINK_MEMORY_CLIENTS_MAX};
    server.group = link_group_create(&group, &problem);
    cr_assert(server.tls != NULL && server.group != NULL, "%s", problem.text);
    struct link_options const options = {.tls = server.tls,
                                         .handlers = {.on_up = on_up,
                                                      .on_frame = on_frame,
                                                      .on_down = on_down,
                                                      .frame_size_max = frame_size_max}};
    cr_assert_eq(link_group_listen(server.group, "127.0.0.1:0", &options, &problem), 0, "%s",
                 problem.text);
    (void)snprintf(server_identity()->client_address, ADDRESS_SIZE_MAX, "127.0.0.1:%u",
                   link_group_port(server.group));
    cr_assert_eq(pthread_create(&server.thread, NULL, serve, NULL), 0);
}

static void server_stop(void) {
    cr_assert_eq(uv_async_send(&server.end), 0);
    cr_assert_eq(pthread_join(server.thread, NULL), 0);
    cr_assert_eq(uv_loop_close(&server.loop), 0);
    tls_context_free(server.tls);
    tls_certificate_free(server.certificate);
}

/* ---- the tests' world ------------------------------------------------------------------------ */

static void set_up(void) {
    struct problem problem = {.code = EXIT_OK};
    consortium_found(&consortium, &(struct consortium_options){0});
    forge_init(&forge, &consortium);
    story = (struct story){.forge = &forge, .random = 11};
    story_append_honest(&story, BATCHES);
    cr_assert_eq(
        founding_decode(&founding, buffer_span(&consortium.genesis_bytes), "test", &problem), 0);
    cr_assert(eras_init(&known, buffer_span(&consortium.genesis_bytes)));
    (void)snprintf(directory, sizeof directory, "/tmp/onus-fetcher-XXXXXX");
    cr_assert(mkdtemp(directory) != NULL);
    (void)snprintf(out, sizeof out, "%s/out", directory);
    server_start();
}

static void tear_down(void) {
    char command[128];
    server_stop();
    arena_free(&offered.arena);
    buffer_free(&offered.offer);
    buffer_free(&offered.false_offer);
    buffer_free(&offered.items);
    buffer_free(&offered.digests);
    offered = (struct offered){.seq = 0};
    founding_free(&founding);
    eras_free(&known);
    known = (struct eras){.count = 0};
    forge_free(&forge);
    consortium_free(&consortium);
    (void)snprintf(command, sizeof command, "rm -rf %s", directory);
    cr_assert_eq(system(command), 0);
}

TestSuite(fetcher, .init = set_up, .fini = tear_down, .timeout = 120);

static struct fetcher *new_fetcher_with(uint64_t deadline_ms, uint64_t absent_ms) {
    struct problem problem = {.code = EXIT_OK};
    struct fetcher_options const options = {.founding = &founding,
                                            .eras = &known,
                                            .secret = consortium.users[0].secret,
                                            .key = consortium.users[0].key,
                                            .directory = out,
                                            .deadline_ms = deadline_ms,
                                            .absent_ms = absent_ms,
                                            .replicas = (uint64_t)1 << SERVER};
    struct fetcher *const fetcher = fetcher_new(&options, &problem);
    cr_assert(fetcher != NULL, "%s", problem.text);
    return fetcher;
}

struct fetcher *new_fetcher(uint64_t deadline_ms) {
    return new_fetcher_with(deadline_ms, 0);
}

const struct fetch_result *round_of(struct fetcher *fetcher, enum lie lie) {
    struct problem problem = {.code = EXIT_OK};
    server.lie = lie;
    server.demands = 0;
    server.has_first = false;
    cr_assert_eq(fetcher_round(fetcher, NULL, NULL, &problem), 0, "%s", problem.text);
    return fetcher_result(fetcher, SERVER);
}

void expect_kept(const char *name, const struct forge *from) {
    char path[192];
    struct host_disk disk;
    struct segment_reader reader;
    struct segment_record record;
    struct problem problem = {.code = EXIT_OK};
    (void)snprintf(path, sizeof path, "%s/%s", out, name);
    cr_assert_eq(host_disk_open(&disk, path, HOST_DISK_READ, &problem), 0, "%s", problem.text);
    segment_reader_init(&reader, &disk.disk, &consortium.configuration.service, false);
    uint64_t count = 0;
    while (segment_reader_next(&reader, &record, &problem) == 1) {
        cr_assert_lt(count, forge_entry_count(from));
        struct entry const expected = forge_entry_at(from, count++);
        cr_assert_eq(record.kind, expected.kind);
        cr_assert(span_equal(record.payload, expected.payload));
    }
    cr_assert_eq(problem.code, EXIT_OK, "%s", problem.text);
    cr_assert_eq(count, forge_entry_count(from));
    segment_reader_free(&reader);
    host_disk_close(&disk);
}

/* ---- what is honest -------------------------------------------------------------------------- */

Test(fetcher, keeps_what_is_handed_over_and_goes_on_from_there) {
    struct fetcher *fetcher = new_fetcher(60000);
    const struct fetch_result *result = round_of(fetcher, HONEST);
    cr_assert_eq(result->state, FETCH_LEVEL, "%s", result->reason);
    cr_assert_eq(result->entries, forge_entry_count(&forge));
    cr_assert_eq(result->available, result->entries);
    cr_assert_eq(result->answers, result->demands);
    cr_assert_gt(result->demands, 3);
    cr_assert_eq(server.first, 0);
    expect_kept("replica-0", &forge);
    story_append_honest(&story, BATCHES);
    result = round_of(fetcher, HONEST);
    cr_assert_eq(result->state, FETCH_LEVEL, "%s", result->reason);
    cr_assert_gt(server.first, 0, "it does not begin anew");
    fetcher_free(fetcher);
    /* Another process goes on as well, from what lies on the disk. */
    story_append_honest(&story, BATCHES);
    fetcher = new_fetcher(60000);
    result = round_of(fetcher, HONEST);
    cr_assert_eq(result->state, FETCH_LEVEL, "%s", result->reason);
    cr_assert_gt(server.first, 0);
    cr_assert_not(result->has_parted);
    fetcher_free(fetcher);
    expect_kept("replica-0", &forge);
}

Test(fetcher, a_change_of_view_replaces_the_tail) {
    struct fetcher *const fetcher = new_fetcher(60000);
    story_append(&story, 2, 1, RULE_NONE);
    story_append(&story, 1, 2, RULE_NONE);
    story_append(&story, 1, 3, RULE_NONE);
    cr_assert_eq(round_of(fetcher, HONEST)->state, FETCH_LEVEL);
    struct forge_view_order order = {.view = 1};
    for (uint32_t r = 0; r < REPLICAS_MAX; r++) {
        order.stated[r] = forge_seq(&forge) - 1;
    }
    forge_change_view(&forge, &order);
    story_append_honest(&story, 3);
    const struct fetch_result *const result = round_of(fetcher, HONEST);
    cr_assert_eq(result->state, FETCH_LEVEL, "%s", result->reason);
    cr_assert_not(result->has_parted);
    fetcher_free(fetcher);
    expect_kept("replica-0", &forge);
}

Test(fetcher, another_history_is_kept_beside_the_first) {
    static struct forge other;
    struct fetcher *const fetcher = new_fetcher(60000);
    cr_assert_eq(round_of(fetcher, HONEST)->state, FETCH_LEVEL);
    forge_init(&other, &consortium);
    struct story second = {.forge = &other, .random = 5};
    story_append_honest(&second, 2 * BATCHES);
    server.forge = &other;
    const struct fetch_result *const result = round_of(fetcher, HONEST);
    cr_assert(result->has_parted);
    cr_assert_eq(result->state, FETCH_LEVEL, "%s", result->reason);
    fetcher_free(fetcher);
    expect_kept("replica-0.before-1", &forge);
    expect_kept("replica-0", &other);
    forge_free(&other);
}

Test(fetcher, a_shorter_ledger_is_told) {
    static struct forge shorter;
    struct fetcher *const fetcher = new_fetcher(60000);
    cr_assert_eq(round_of(fetcher, HONEST)->state, FETCH_LEVEL);
    forge_init(&shorter, &consortium);
    server.forge = &shorter;
    const struct fetch_result *const result = round_of(fetcher, HONEST);
    cr_assert_eq(result->state, FETCH_BEHIND, "%s", result->reason);
    cr_assert_eq(result->available, 1);
    cr_assert_gt(result->entries, 1, "what was evidenced is kept");
    fetcher_free(fetcher);
    forge_free(&shorter);
}

Test(fetcher, one_that_joined_is_behind_until_it_has_its_older_ledger) {
    struct fetcher *const fetcher = new_fetcher(60000);
    uint64_t const place = forge_entry_count(&forge);
    story_append_honest(&story, BATCHES);
    server.begins = place;
    const struct fetch_result *result = round_of(fetcher, HONEST);
    cr_assert_eq(result->state, FETCH_BEHIND, "%s", result->reason);
    cr_assert_neq(result->reason[0], '\0');
    cr_assert_eq(result->available, forge_entry_count(&forge), "it says what it has");
    cr_assert_eq(result->entries, 0);
    cr_assert_eq(result->evidence.size, 0, "that is no guilt");
    cr_assert_lt(result->demands, 20);
    server.begins = 0;
    result = round_of(fetcher, HONEST);
    cr_assert_eq(result->state, FETCH_LEVEL, "%s", result->reason);
    cr_assert_not(result->has_parted);
    fetcher_free(fetcher);
    expect_kept("replica-0", &forge);
}

Test(fetcher, one_that_joined_goes_on_for_who_has_what_lies_before) {
    struct fetcher *const fetcher = new_fetcher(60000);
    story_append_honest(&story, BATCHES);
    uint64_t const place = forge_entry_count(&forge);
    story_append_honest(&story, BATCHES);
    cr_assert_eq(round_of(fetcher, HONEST)->state, FETCH_LEVEL);
    story_append_honest(&story, BATCHES);
    server.begins = place;
    const struct fetch_result *const result = round_of(fetcher, HONEST);
    cr_assert_gt(server.first, place, "it demands what lies behind the beginning");
    cr_assert_eq(result->state, FETCH_LEVEL, "%s", result->reason);
    cr_assert_not(result->has_parted);
    fetcher_free(fetcher);
    expect_kept("replica-0", &forge);
}

Test(fetcher, waits_for_one_that_is_busy) {
    struct fetcher *const fetcher = new_fetcher(60000);
    const struct fetch_result *const result = round_of(fetcher, BUSY);
    cr_assert_eq(result->state, FETCH_LEVEL, "%s", result->reason);
    cr_assert_gt(result->demands, result->answers);
    fetcher_free(fetcher);
}

/* ---- what convicts --------------------------------------------------------------------------- */

Test(fetcher, a_range_that_is_none_convicts_who_signed_for_it) {
    static struct proof_verdict verdict;
    struct fetcher *const fetcher = new_fetcher(60000);
    const struct fetch_result *const result = round_of(fetcher, CUT_SHORT);
    cr_assert_eq(result->state, FETCH_MALFORMED, "%s", result->reason);
    cr_assert_eq(
        proof_verify(&verdict, &consortium.configuration.service, buffer_span(&result->evidence)),
        PROOF_VALID);
    cr_assert_eq(verdict.blamed, (uint64_t)1 << SERVER);
    cr_assert_eq(result->entries, 0, "nothing of it is kept");
    fetcher_free(fetcher);
}

/* ---- what convicts nobody -------------------------------------------------------------------- */

static void expect_invalid(enum lie lie) {
    struct fetcher *const fetcher = new_fetcher(60000);
    const struct fetch_result *const result = round_of(fetcher, lie);
    cr_assert_eq(result->state, FETCH_INVALID, "lie %d: state %d: %s", (int)lie, (int)result->state,
                 result->reason);
    cr_assert_eq(result->evidence.size, 0);
    cr_assert_neq(result->reason[0], '\0');
    fetcher_free(fetcher);
}

Test(fetcher, what_it_did_not_sign_as_the_answer_convicts_nobody) {
    static enum lie const lies[] = {OTHER_BYTES,  OTHERS_SIGNATURE, OTHERS_NAME,
                                    OTHER_DEMAND, GARBAGE,          TWICE};
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        expect_invalid(lies[i]);
    }
}

Test(fetcher, entries_from_elsewhere_are_not_taken) {
    struct fetcher *const fetcher = new_fetcher(60000);
    cr_assert_eq(round_of(fetcher, HONEST)->state, FETCH_LEVEL);
    const struct fetch_result *const result = round_of(fetcher, OTHER_PLACE);
    cr_assert_eq(result->state, FETCH_INVALID, "%s", result->reason);
    fetcher_free(fetcher);
    expect_kept("replica-0", &forge);
}

Test(fetcher, empty_answers_come_to_an_end) {
    struct fetcher *const fetcher = new_fetcher(60000);
    const struct fetch_result *const result = round_of(fetcher, NOTHING);
    cr_assert_eq(result->state, FETCH_BEHIND, "%s", result->reason);
    cr_assert_lt(result->demands, 20);
    cr_assert_eq(result->entries, 0);
    fetcher_free(fetcher);
}

Test(fetcher, silence_is_told_at_the_deadline) {
    struct fetcher *const fetcher = new_fetcher(1500);
    const struct fetch_result *const result = round_of(fetcher, MUTE);
    cr_assert_eq(result->state, FETCH_SILENT, "%s", result->reason);
    cr_assert_eq(result->demands, 1);
    cr_assert_eq(result->answers, 0);
    cr_assert_gt(result->asked_ms, 0);
    cr_assert_gt(result->demand.size, 0);
    cr_assert_eq(result->evidence.size, 0);
    fetcher_free(fetcher);
}

Test(fetcher, a_refusal_is_told) {
    struct fetcher *const fetcher = new_fetcher(60000);
    const struct fetch_result *const result = round_of(fetcher, UNKNOWN_AUTHOR);
    cr_assert_eq(result->state, FETCH_REFUSED, "%s", result->reason);
    fetcher_free(fetcher);
}

Test(fetcher, links_that_break_are_made_anew_until_the_deadline) {
    static enum lie const lies[] = {HANGS_UP, OVERSIZED};
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        struct fetcher *const fetcher = new_fetcher(2000);
        const struct fetch_result *const result = round_of(fetcher, lies[i]);
        cr_assert_eq(result->state, FETCH_UNREACHABLE, "%d: %s", (int)result->state,
                     result->reason);
        cr_assert_gt(result->demands, 1);
        cr_assert_lt(result->demands, 50);
        cr_assert_eq(round_of(fetcher, HONEST)->state, FETCH_LEVEL);
        fetcher_free(fetcher);
    }
}

/* From now on nobody listens where the replica is said to be; and it is put right again. */
static void hide_server(char kept[static ADDRESS_SIZE_MAX + 1]) {
    char *const address = server_identity()->client_address;
    memcpy(kept, address, ADDRESS_SIZE_MAX + 1);
    (void)snprintf(address, ADDRESS_SIZE_MAX, "127.0.0.1:1");
}

static void show_server(const char *kept) {
    memcpy(server_identity()->client_address, kept, ADDRESS_SIZE_MAX + 1);
}

Test(fetcher, nobody_there) {
    char kept[ADDRESS_SIZE_MAX + 1];
    hide_server(kept);
    struct fetcher *const fetcher = new_fetcher(500);
    const struct fetch_result *const result = round_of(fetcher, HONEST);
    cr_assert_eq(result->state, FETCH_UNREACHABLE, "%s", result->reason);
    cr_assert_eq(result->demands, 0);
    cr_assert_neq(result->reason[0], '\0');
    fetcher_free(fetcher);
    show_server(kept);
}

/* An outage costs one round its deadline, and later ones a moment. */
Test(fetcher, who_is_still_absent_is_not_waited_for) {
    char kept[ADDRESS_SIZE_MAX + 1];
    uint64_t took_ms[2];
    hide_server(kept);
    struct fetcher *const fetcher = new_fetcher_with(3000, 500);
    for (uint32_t i = 0; i < 2; i++) {
        uint64_t const began_ms = clock_monotonic_ms();
        cr_assert_eq(round_of(fetcher, HONEST)->state, FETCH_UNREACHABLE);
        took_ms[i] = clock_monotonic_ms() - began_ms;
    }
    cr_assert_geq(took_ms[0], 3000);
    cr_assert_geq(took_ms[1], 500);
    cr_assert_lt(took_ms[1], 3000);
    show_server(kept);
    enum fetch_state state = FETCH_UNREACHABLE;
    for (uint32_t i = 0; i < 20 && state != FETCH_LEVEL; i++) { /* it has a moment in each */
        state = round_of(fetcher, HONEST)->state;
    }
    cr_assert_eq(state, FETCH_LEVEL);
    fetcher_free(fetcher);
}
