/*
 * gov: tests of what `onus gov` puts together: credentials in files, drafts from options and YAML,
 * previews, and answers about what is open.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/draft.h"
#include "client/preview.h"
#include "client/tally.h"
#include "tests/forge/charter.h"

#define PATH_SIZE 128u

static struct consortium consortium;
static struct charter charter;
static struct draft draft;
static struct preview preview;
static struct buffer bytes;
static struct problem problem;
static char directory[] = "/tmp/onus-gov-XXXXXX";
static char page[1u << 16];

static void set_up(void) {
    consortium_found(&consortium, &(struct consortium_options){.replica_count = 4});
    charter_found(&charter, &consortium);
    draft_init(&draft, &charter.now);
    arena_init(&preview.arena, PREVIEW_ARENA_SIZE);
    buffer_init(&bytes, PROPOSAL_SIZE_MAX);
    memcpy(directory, "/tmp/onus-gov-XXXXXX", sizeof directory);
    cr_assert_not_null(mkdtemp(directory));
}

static void tear_down(void) {
    static const char *const names[] = {"a", "b", "c", "d", "proposal.yaml", "evidence"};
    char path[PATH_SIZE];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", directory, names[i]);
        (void)unlink(path);
    }
    cr_assert_eq(rmdir(directory), 0);
    draft_free(&draft);
    preview_free(&preview);
    buffer_free(&bytes);
    charter_free(&charter);
    consortium_free(&consortium);
}

TestSuite(gov, .init = set_up, .fini = tear_down, .timeout = 170);

static const char *path_of(const char *name) {
    static char paths[4][PATH_SIZE];
    static uint32_t turn;
    char *const path = paths[turn++ % 4];
    (void)snprintf(path, PATH_SIZE, "%s/%s", directory, name);
    return path;
}

static void write_file(const char *name, const char *text) {
    FILE *const file = fopen(path_of(name), "we");
    cr_assert_not_null(file);
    cr_assert_geq(fputs(text, file), 0);
    cr_assert_eq(fclose(file), 0);
}

static void expect_problem(int status, enum exit_code code, const char *words) {
    cr_assert_eq(status, -1);
    cr_assert_eq(problem.code, code, "%d: %s", problem.code, problem.text);
    cr_assert_not_null(strstr(problem.text, words), "%s", problem.text);
    problem = (struct problem){.code = EXIT_OK};
}

static void expect_ok(int status) {
    cr_assert_eq(status, 0, "%s", problem.text);
}

/* ---- credentials ----------------------------------------------------------------------------- */

static struct credential credential_make(enum holder_role role, const char *name, uint32_t number) {
    struct credential credential = {.service = charter.now.service, .role = role};
    const struct key_pair *const pair = charter_key(&charter, number);
    expect_ok(credential_set_name(&credential, name, &problem));
    if (role == HOLDER_REPLICA) {
        memset(&credential.tls_digest, (int)(number % 250 + 1), sizeof credential.tls_digest);
        expect_ok(
            credential_set_addresses(&credential, "127.0.0.1:7400", "host.example:7401", &problem));
    }
    expect_ok(credential_possess(&credential, &pair->secret, &pair->key, &problem));
    return credential;
}

static void credential_file(const char *file, enum holder_role role, const char *name,
                            uint32_t number) {
    struct credential const credential = credential_make(role, name, number);
    expect_ok(credential_save(&credential, path_of(file), &problem));
}

/* A new replica, endorsed by this member of the founding. */
static void replica_file(const char *file, uint32_t member, uint32_t number) {
    struct credential credential =
        credential_make(HOLDER_REPLICA, charter.now.members[member].name, number);
    const struct key_pair *const pair = &consortium.members[member];
    expect_ok(credential_endorse(&credential, &pair->secret, &pair->key, &problem));
    expect_ok(credential_save(&credential, path_of(file), &problem));
}

Test(gov, credentials_come_back_as_they_were_saved) {
    static const enum holder_role roles[] = {HOLDER_MEMBER, HOLDER_USER, HOLDER_REPLICA};
    for (uint32_t i = 0; i < 3; i++) {
        struct credential const made = credential_make(roles[i], "bank-x", 900 + i);
        struct credential back;
        char const file[2] = {(char)('a' + i), '\0'};
        expect_ok(credential_save(&made, path_of(file), &problem));
        expect_ok(credential_load(&back, &charter.now.service, path_of(file), &problem));
        cr_assert_eq(back.role, made.role);
        cr_assert_str_eq(back.name, made.name);
        cr_assert(public_key_equal(&back.key, &made.key));
        cr_assert_str_eq(back.client_address, made.client_address);
        cr_assert_not(back.endorsed);
        expect_problem(credential_save(&made, path_of(file), &problem), EXIT_ERROR, "exists");
    }
}

Test(gov, a_credential_with_any_character_changed_is_refused) {
    struct credential made = credential_make(HOLDER_REPLICA, "bank-x", 900);
    struct credential back;
    expect_ok(credential_endorse(&made, &consortium.members[0].secret, &consortium.members[0].key,
                                 &problem));
    cr_assert(credential_format(&bytes, &made));
    uint32_t held = 0;
    for (size_t at = 0; at < bytes.size; at++) {
        uint8_t const was = bytes.data[at];
        bytes.data[at] = was == 'z' ? 'y' : 'z';
        held += credential_parse(&back, buffer_span(&bytes), "file", &problem) == 0;
        problem = (struct problem){.code = EXIT_OK};
        bytes.data[at] = was;
    }
    /* The new key signs for its use; where the replica is, its member signs. */
    cr_assert_eq(held, strlen("host.example") + strlen("127.0.0.1"), "hosts may have any name: %u",
                 held);
    for (size_t size = 0; size < bytes.size; size++) {
        if (credential_parse(&back, span_of(bytes.data, size), "file", &problem) == 0) {
            cr_assert_not(back.endorsed, "the last line may be missing as a whole");
        }
        problem = (struct problem){.code = EXIT_OK};
    }
    cr_assert(buffer_append(&bytes, span_text("more\n")));
    expect_problem(credential_parse(&back, buffer_span(&bytes), "file", &problem), EXIT_INVALID,
                   "behind the last line");
}

Test(gov, a_credential_is_for_one_service) {
    struct credential made = credential_make(HOLDER_USER, "dora", 900);
    struct credential back;
    struct digest other = charter.now.service;
    other.bytes[0] ^= 1;
    expect_ok(credential_save(&made, path_of("a"), &problem));
    expect_problem(credential_load(&back, &other, path_of("a"), &problem), EXIT_INVALID,
                   "another service");
    expect_problem(credential_set_name(&made, "Dora", &problem), EXIT_USAGE, "no name");
    expect_problem(credential_set_name(&made, "", &problem), EXIT_USAGE, "no name");
    expect_problem(credential_set_addresses(&made, "nowhere", "a:1", &problem), EXIT_ERROR,
                   "nowhere");
}

/* ---- drafts and previews --------------------------------------------------------------------- */

static void finish(void) {
    expect_ok(draft_finish(&draft, &bytes, &problem));
    expect_ok(preview_make(&preview, &charter.now, buffer_span(&bytes), &problem));
}

static void expect_sound(void) {
    finish();
    expect_ok(preview_check(&preview, &problem));
}

static void expect_page(const char *words) {
    FILE *const out = fmemopen(page, sizeof page, "w");
    cr_assert_not_null(out);
    preview_print(out, &preview);
    cr_assert_eq(fclose(out), 0);
    cr_assert_not_null(strstr(page, words), "`%s` is not in:\n%s", words, page);
}

Test(gov, a_member_with_a_replica_comes) {
    credential_file("a", HOLDER_MEMBER, "bank-x", 900);
    replica_file("b", 1, 901);
    expect_ok(draft_holder(&draft, ACTION_ADD_MEMBER, path_of("a"), &problem));
    expect_ok(draft_add_replica(&draft, path_of("b"), &problem));
    expect_ok(draft_text(&draft, "Bank X joins", &problem));
    expect_sound();
    cr_assert_eq(preview.next.replica_count, 5);
    expect_page("members 4 → 5  users 3  replicas 4 → 5  tolerates 1  quorum 3 → 4\n");
    expect_page("text       Bank X joins\n");
    expect_page("action 1   add member bank-x, key ");
    expect_page("action 2   add a replica of bank-b, peers 127.0.0.1:7400, clients "
                "host.example:7401, key ");
    expect_page("passes with the yes of 3 of 4: bank-a bank-b bank-c bank-d\n");
    json_t *const json = preview_json(&preview);
    cr_assert_not_null(json);
    cr_assert(json_is_null(json_object_get(json, "refused")));
    cr_assert_eq(json_integer_value(json_object_get(json_object_get(json, "after"), "quorum")), 4);
    cr_assert_eq(json_array_size(json_object_get(json, "actions")), 2);
    json_decref(json);
}

Test(gov, a_broken_rule_is_told_in_words) {
    expect_ok(draft_without(&draft, ACTION_REMOVE_USER, "alice", &problem));
    expect_ok(draft_without(&draft, ACTION_REMOVE_MEMBER, "bank-z", &problem));
    finish();
    expect_page("REFUSED    action 2: there is no such member\n");
    expect_problem(preview_check(&preview, &problem), EXIT_REJECTED,
                   "action 2: there is no such member");
    json_t *const json = preview_json(&preview);
    cr_assert(json_is_null(json_object_get(json, "after")));
    cr_assert_eq(json_integer_value(json_object_get(json_object_get(json, "refused"), "action")),
                 2);
    json_decref(json);
}

Test(gov, a_replica_is_named_by_number_or_key) {
    char key[2 * PUBLIC_KEY_SIZE + 1];
    hex_encode(key, span_of(charter.now.replicas[2].identity.key.bytes, PUBLIC_KEY_SIZE));
    replica_file("a", 2, 901);
    expect_problem(draft_remove_replica(&draft, "4", &problem), EXIT_USAGE, "0 to 3");
    expect_problem(draft_remove_replica(&draft, "-1", &problem), EXIT_USAGE, "0 to 3");
    expect_ok(draft_replace_replica(&draft, "2", path_of("a"), &problem));
    cr_assert(
        public_key_equal(&draft.proposal.actions[0].key, &charter.now.replicas[2].identity.key));
    expect_sound();
    expect_page("action 1   replace replica 2 of bank-c by one of bank-c");
    expect_ok(draft_replace_replica(&draft, key, path_of("a"), &problem));
    cr_assert(public_key_equal(&draft.proposal.actions[1].key, &draft.proposal.actions[0].key));
}

Test(gov, credentials_must_fit_what_they_are_for) {
    credential_file("a", HOLDER_MEMBER, "bank-x", 900);
    credential_file("b", HOLDER_REPLICA, "bank-a", 901);
    expect_problem(draft_holder(&draft, ACTION_ADD_USER, path_of("a"), &problem), EXIT_INVALID,
                   "is the key of a member, and a user is wanted");
    expect_problem(draft_add_replica(&draft, path_of("a"), &problem), EXIT_INVALID,
                   "not that of a replica");
    expect_problem(draft_add_replica(&draft, path_of("b"), &problem), EXIT_INVALID,
                   "no member has endorsed");
    expect_problem(draft_holder(&draft, ACTION_ADD_USER, path_of("d"), &problem), EXIT_ERROR,
                   "No such file");
    expect_problem(draft_finish(&draft, &bytes, &problem), EXIT_USAGE, "changes nothing");
}

Test(gov, parameters_that_are_not_set_stay) {
    struct parameters const *const before = &charter.now.parameters;
    expect_ok(draft_parameter(&draft, DRAFT_CHECKPOINT_INTERVAL, 2000, &problem));
    expect_ok(draft_voting_rule(&draft, "2/3", &problem));
    expect_ok(draft_parameter(&draft, DRAFT_PIPELINE, before->pipeline + 1, &problem));
    expect_sound();
    cr_assert_eq(draft.proposal.action_count, 2);
    cr_assert_eq(preview.next.parameters.checkpoint_interval, 2000);
    cr_assert_eq(preview.next.parameters.pipeline, before->pipeline + 1);
    cr_assert_eq(preview.next.parameters.window, before->window);
    cr_assert_eq(preview.next.parameters.batch_calls_max, before->batch_calls_max);
    expect_page("more than 2/3 of all members (now 1/2)");
}

Test(gov, what_is_no_rule_or_text_is_refused) {
    static const char *const rules[] = {"", "2", "/", "1/", "/2", "0/1", "1/101", "-1/2", "1/2x"};
    static const char *const texts[] = {"two\nlines", "\xff", "a\x1b[0m"};
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        expect_problem(draft_voting_rule(&draft, rules[i], &problem), EXIT_USAGE, "a fraction");
    }
    expect_ok(draft_voting_rule(&draft, "2/3", &problem));
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        draft.proposal.text = span_of(NULL, 0);
        expect_ok(draft_text(&draft, texts[i], &problem));
        expect_problem(draft_finish(&draft, &bytes, &problem), EXIT_USAGE, "UTF-8 of one line");
    }
    expect_problem(draft_text(&draft, "again", &problem), EXIT_USAGE, "one text");
}

Test(gov, no_more_than_a_proposal_holds) {
    write_file("evidence", "a proof");
    for (uint32_t i = 0; i < ACTIONS_MAX; i++) {
        expect_ok(draft_without(&draft, ACTION_REMOVE_USER, "alice", &problem));
    }
    expect_problem(draft_without(&draft, ACTION_REMOVE_USER, "alice", &problem), EXIT_USAGE,
                   "at most 32 actions");
    for (uint32_t i = 0; i < PROPOSAL_EVIDENCE_MAX; i++) {
        expect_ok(draft_attach(&draft, path_of("evidence"), &problem));
    }
    expect_problem(draft_attach(&draft, path_of("evidence"), &problem), EXIT_USAGE,
                   "at most 8 files");
    struct digest const digest = hash_bytes(span_text("a proof"));
    finish();
    cr_assert(digest_equal(&preview.proposal.evidence[7], &digest));
    expect_page("evidence   sha256 ");
}

Test(gov, two_drafts_of_the_same_are_two_proposals) {
    expect_ok(draft_without(&draft, ACTION_REMOVE_USER, "alice", &problem));
    finish();
    struct digest const first = preview.proposal.id;
    buffer_clear(&bytes);
    preview_free(&preview);
    finish();
    cr_assert_not(digest_equal(&first, &preview.proposal.id));
}

/* ---- YAML ------------------------------------------------------------------------------------ */

Test(gov, a_file_says_the_same_as_options) {
    credential_file("a", HOLDER_MEMBER, "bank-x", 900);
    credential_file("b", HOLDER_USER, "alice", 901);
    replica_file("c", 0, 902);
    replica_file("d", 1, 903);
    write_file("evidence", "a proof");
    write_file("proposal.yaml", "text: All at once\n"
                                "evidence:\n  - evidence\n"
                                "actions:\n"
                                "  - add_member: a\n"
                                "  - rotate_user: b\n"
                                "  - remove_user: bob\n"
                                "  - add_replica: c\n"
                                "  - replace_replica:\n      replica: \"1\"\n      with: d\n"
                                "  - set_parameters:\n      checkpoint_interval: 3000\n"
                                "  - set_voting_rule: 3/5\n");
    expect_ok(draft_load(&draft, path_of("proposal.yaml"), &problem));
    expect_sound();
    cr_assert_eq(preview.proposal.action_count, 7);
    cr_assert_eq(preview.proposal.evidence_count, 1);
    cr_assert_eq(preview.next.user_count, 2);
    cr_assert_eq(preview.next.replica_count, 5);
    cr_assert_eq(preview.next.rule.denominator, 5);
    cr_assert_eq(preview.next.parameters.checkpoint_interval, 3000);
}

Test(gov, files_that_say_something_else_are_refused) {
    static const struct {
        const char *text;
        const char *words;
    } cases[] = {
        {"text: only\n", "actions"},
        {"actions: []\n", "Insufficient entries"},
        {"actions:\n  - remove_user: bob\nmore: 1\n", "more"},
        {"actions:\n  - remove_user: bob\n    remove_member: bank-a\n",
         "`actions[0]`: an action has"},
        {"actions:\n  - remove_user: bob\n  - remove_user: Bob\n", "`actions[1]`"},
        {"actions:\n  - add_member: nowhere\n", "nowhere"},
        {"actions:\n  - set_voting_rule: half\n", "a fraction"},
        {"actions:\n  - remove_replica: \"9\"\n", "no such replica"},
        {"actions:\n  - set_parameters:\n      window: 1\n", "window"},
        {"actions:\n  - set_parameters:\n      pipeline: 99999999999\n",
         "no parameter is as large"},
        {"actions:\n  - remove_user: bob\nevidence:\n  - nowhere\n", "`evidence[0]`"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_file("proposal.yaml", cases[i].text);
        draft_free(&draft);
        draft_init(&draft, &charter.now);
        int const status = draft_load(&draft, path_of("proposal.yaml"), &problem);
        cr_assert_eq(status, -1, "%s", cases[i].text);
        cr_assert_not_null(strstr(problem.text, "proposal.yaml"), "%s", problem.text);
        cr_assert_not_null(strstr(problem.text, cases[i].words), "%s", problem.text);
        problem = (struct problem){.code = EXIT_OK};
    }
}

/* Its files are missing, and that is all. */
Test(gov, the_shipped_example_has_the_form) {
    cr_assert_eq(draft_load(&draft, EXAMPLE_PROPOSAL, &problem), -1);
    cr_assert_not_null(strstr(problem.text, "`evidence[0]`"), "%s", problem.text);
    cr_assert_not_null(strstr(problem.text, "No such file"), "%s", problem.text);
}

/* ---- answers --------------------------------------------------------------------------------- */

#define LINE                                                                                       \
    "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff 02 0000000000000005 "        \
    "0000000000000008"

static void expect_tally(const struct tally *tally, const struct constitution *known,
                         const char *words) {
    FILE *const out = fmemopen(page, sizeof page, "w");
    cr_assert_not_null(out);
    tally_print(out, tally, known);
    cr_assert_eq(fclose(out), 0);
    cr_assert_not_null(strstr(page, words), "`%s` is not in:\n%s", words, page);
}

Test(gov, a_tally_names_who_is_missing) {
    struct span const reply[] = {span_text("1"), span_text("1"), span_text(LINE)};
    struct outcome outcome = {.status = OUTCOME_OK, .reply_count = 3, .reply = reply};
    struct tally tally;
    expect_ok(tally_take(&tally, &outcome, &problem));
    expect_tally(&tally, &charter.now, "  by      bank-c\n");
    expect_tally(&tally, &charter.now, "  yes     bank-a bank-c\n");
    expect_tally(&tally, &charter.now, "  no      bank-d\n");
    expect_tally(&tally, &charter.now, "  not yet bank-b\n");
    expect_tally(&tally, &charter.now, "  missing 1 more yes (passes with 3 of 4)\n");
    json_t *const json = tally_json(&tally, &charter.now);
    cr_assert_not_null(json);
    json_t *const line = json_array_get(json_object_get(json, "open"), 0);
    cr_assert_str_eq(json_string_value(json_array_get(json_object_get(line, "not_yet"), 0)),
                     "bank-b");
    cr_assert_eq(json_integer_value(json_object_get(line, "needed")), 3);
    json_decref(json);
    outcome.reply_count = 2;
    expect_ok(tally_take(&tally, &outcome, &problem));
    expect_tally(&tally, &charter.now, "no proposal");
}

Test(gov, members_of_another_configuration_are_numbers) {
    struct span const reply[] = {span_text("7"), span_text("8"), span_text(LINE)};
    struct outcome const outcome = {.status = OUTCOME_OK, .reply_count = 3, .reply = reply};
    struct tally tally;
    expect_ok(tally_take(&tally, &outcome, &problem));
    expect_tally(&tally, &charter.now, "in force   configuration 7\nunder way  configuration 8");
    expect_tally(&tally, &charter.now, "  yes     #0 #2\n");
    json_t *const json = tally_json(&tally, &charter.now);
    json_t *const line = json_array_get(json_object_get(json, "open"), 0);
    cr_assert(json_is_null(json_object_get(line, "not_yet")));
    json_decref(json);
}

Test(gov, answers_that_make_no_sense_are_refused) {
    struct span const replies[][3] = {
        {span_text("1"), span_text("x"), span_text(LINE)},
        {span_text(""), span_text("1"), span_text(LINE)},
        {span_text("1"), span_text("11111111111111111111"), span_text(LINE)},
        {span_text("1"), span_text("1"), span_text("line")},
    };
    struct tally tally;
    for (size_t i = 0; i < sizeof replies / sizeof replies[0]; i++) {
        struct outcome const outcome = {
            .status = OUTCOME_OK, .reply_count = 3, .reply = replies[i]};
        expect_problem(tally_take(&tally, &outcome, &problem), EXIT_ERROR, "cannot be read");
    }
    struct outcome const none = {.status = OUTCOME_OK, .reply_count = 1, .reply = replies[0]};
    expect_problem(tally_take(&tally, &none, &problem), EXIT_ERROR, "cannot be read");
}

Test(gov, so_many_votes_pass) {
    static const struct {
        struct voting_rule rule;
        uint32_t members;
        uint32_t needed;
    } cases[] = {
        {{1, 2}, 4, 3}, {{1, 2}, 5, 3}, {{2, 3}, 3, 3}, {{1, 2}, 1, 1}, {{99, 100}, 64, 64}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        charter.now.rule = cases[i].rule;
        charter.now.member_count = cases[i].members;
        cr_assert_eq(preview_votes_needed(&charter.now), cases[i].needed);
    }
}

Test(gov, what_governs_is_shown_whole) {
    FILE *const out = fmemopen(page, sizeof page, "w");
    preview_print_constitution(out, &charter.now);
    cr_assert_eq(fclose(out), 0);
    cr_assert_not_null(strstr(page, "configuration  1\n"));
    cr_assert_not_null(strstr(page, "quorum         3 of 4, tolerates 1\n"));
    cr_assert_not_null(strstr(page, "more than 1/2 of all members: 3 of 4\n"));
    cr_assert_not_null(strstr(page, "  carol\n"));
    json_t *const json = preview_constitution_json(&charter.now);
    cr_assert_eq(json_array_size(json_object_get(json, "replicas")), 4);
    cr_assert_eq(json_array_size(json_object_get(json, "users")), 3);
    json_decref(json);
}
