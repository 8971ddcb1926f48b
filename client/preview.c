/*
 * preview: see preview.h. Names and addresses have the characters that ledger/codec.h allows, so
 * that they may be printed as they stand; the text of a proposal too.
 */
#include "client/preview.h"

#include "base/check.h"
#include "client/view.h"

#define HEX_TEXT_SIZE (2u * DIGEST_SIZE + 1u)

struct hex_text {
    char text[HEX_TEXT_SIZE];
};

static struct hex_text hex_of(const uint8_t bytes[static DIGEST_SIZE]) {
    struct hex_text out;
    hex_encode(out.text, span_of(bytes, DIGEST_SIZE));
    return out;
}

static json_t *hex_json(const uint8_t bytes[static DIGEST_SIZE]) {
    return json_string(hex_of(bytes).text);
}

int preview_make(struct preview *out, const struct constitution *now, struct span bytes,
                 struct problem *problem) {
    out->now = now;
    arena_init(&out->arena, PREVIEW_ARENA_SIZE);
    enum codec_result const result =
        proposal_decode(&out->proposal, &out->arena, &now->service, bytes);
    if (result != CODEC_OK) {
        return problem_set(problem, EXIT_INVALID, "the proposal cannot be read: %s",
                           codec_result_text(result));
    }
    out->verdict = proposal_apply(&out->next, now, &out->proposal);
    return 0;
}

void preview_free(struct preview *preview) {
    arena_free(&preview->arena);
}

uint32_t preview_votes_needed(const struct constitution *now) {
    uint32_t needed = 1;
    while (needed < now->member_count &&
           !voting_rule_passes(&now->rule, needed, now->member_count)) {
        needed++;
    }
    return needed;
}

int preview_check(const struct preview *preview, struct problem *problem) {
    const struct proposal_verdict *const verdict = &preview->verdict;
    if (verdict->rule == PROPOSAL_SOUND) {
        return 0;
    }
    return verdict->action == 0
               ? problem_set(problem, EXIT_REJECTED, "against the rules: %s",
                             proposal_rule_text(verdict->rule))
               : problem_set(problem, EXIT_REJECTED, "against the rules: action %u: %s",
                             verdict->action, proposal_rule_text(verdict->rule));
}

/* ---- actions --------------------------------------------------------------------------------- */

static const char *kind_text(enum action_kind kind) {
    switch (kind) {
    case ACTION_ADD_MEMBER:
        return "add_member";
    case ACTION_REMOVE_MEMBER:
        return "remove_member";
    case ACTION_ROTATE_MEMBER:
        return "rotate_member";
    case ACTION_ADD_USER:
        return "add_user";
    case ACTION_REMOVE_USER:
        return "remove_user";
    case ACTION_ROTATE_USER:
        return "rotate_user";
    case ACTION_ADD_REPLICA:
        return "add_replica";
    case ACTION_REMOVE_REPLICA:
        return "remove_replica";
    case ACTION_REPLACE_REPLICA:
        return "replace_replica";
    case ACTION_SET_PARAMETERS:
        return "set_parameters";
    case ACTION_SET_VOTING_RULE:
        return "set_voting_rule";
    }
    UNREACHABLE();
}

/* A replica of today, by its key. */
static void print_replica_key(FILE *out, const struct constitution *now,
                              const struct public_key *key) {
    uint32_t position = 0;
    if (constitution_find_replica(now, key, &position)) {
        (void)fprintf(out, "replica %u of %s", position,
                      now->members[now->replicas[position].identity.member].name);
    } else {
        (void)fprintf(out, "the replica with key %s", hex_of(key->bytes).text);
    }
}

static void print_endorsed(FILE *out, const struct replica_endorsement *replica) {
    (void)fprintf(out, "%.*s, peers %.*s, clients %.*s, key %s, TLS %s", (int)replica->member.size,
                  (const char *)replica->member.data, (int)replica->peer_address.size,
                  (const char *)replica->peer_address.data, (int)replica->client_address.size,
                  (const char *)replica->client_address.data,
                  hex_of(replica->replica_key.bytes).text, hex_of(replica->tls_digest.bytes).text);
}

static void print_number(FILE *out, const char *name, uint64_t before, uint64_t after) {
    if (before != after) {
        (void)fprintf(out, " %s %llu → %llu", name, (unsigned long long)before,
                      (unsigned long long)after);
    }
}

static void print_parameters(FILE *out, const struct parameters *before,
                             const struct parameters *after) {
    (void)fprintf(out, "set parameters:");
    print_number(out, "pipeline", before->pipeline, after->pipeline);
    print_number(out, "checkpoint_interval", before->checkpoint_interval,
                 after->checkpoint_interval);
    print_number(out, "window", before->window, after->window);
    print_number(out, "batch_calls_max", before->batch_calls_max, after->batch_calls_max);
    print_number(out, "batch_size_soft_max", before->batch_size_soft_max,
                 after->batch_size_soft_max);
}

static void print_holder(FILE *out, const char *what, const struct action *action) {
    (void)fprintf(out, "%s %.*s, key %s", what, (int)action->name.size,
                  (const char *)action->name.data, hex_of(action->key.bytes).text);
}

static void print_without(FILE *out, const char *what, const struct action *action) {
    (void)fprintf(out, "%s %.*s", what, (int)action->name.size, (const char *)action->name.data);
}

static void print_action(FILE *out, const struct constitution *now, const struct action *action) {
    switch (action->kind) {
    case ACTION_ADD_MEMBER:
        print_holder(out, "add member", action);
        return;
    case ACTION_REMOVE_MEMBER:
        print_without(out, "remove member", action);
        return;
    case ACTION_ROTATE_MEMBER:
        print_holder(out, "new key of member", action);
        return;
    case ACTION_ADD_USER:
        print_holder(out, "add user", action);
        return;
    case ACTION_REMOVE_USER:
        print_without(out, "remove user", action);
        return;
    case ACTION_ROTATE_USER:
        print_holder(out, "new key of user", action);
        return;
    case ACTION_ADD_REPLICA:
        (void)fputs("add a replica of ", out);
        print_endorsed(out, &action->replica);
        return;
    case ACTION_REMOVE_REPLICA:
        (void)fputs("remove ", out);
        print_replica_key(out, now, &action->key);
        return;
    case ACTION_REPLACE_REPLICA:
        (void)fputs("replace ", out);
        print_replica_key(out, now, &action->key);
        (void)fputs(" by one of ", out);
        print_endorsed(out, &action->replica);
        return;
    case ACTION_SET_PARAMETERS:
        print_parameters(out, &now->parameters, &action->parameters);
        return;
    case ACTION_SET_VOTING_RULE:
        (void)fprintf(out, "a proposal passes with more than %u/%u of all members (now %u/%u)",
                      action->rule.numerator, action->rule.denominator, now->rule.numerator,
                      now->rule.denominator);
        return;
    }
    UNREACHABLE();
}

/* ---- the page -------------------------------------------------------------------------------- */

static void print_count(FILE *out, const char *name, uint32_t before, uint32_t after) {
    if (before == after) {
        (void)fprintf(out, "  %s %u", name, before);
    } else {
        (void)fprintf(out, "  %s %u → %u", name, before, after);
    }
}

static void print_effect(FILE *out, const struct constitution *now,
                         const struct constitution *next) {
    uint32_t const faults[2] = {configuration_faults_max(now->replica_count),
                                configuration_faults_max(next->replica_count)};
    (void)fputs("effect   ", out);
    print_count(out, "members", now->member_count, next->member_count);
    print_count(out, "users", now->user_count, next->user_count);
    print_count(out, "replicas", now->replica_count, next->replica_count);
    print_count(out, "tolerates", faults[0], faults[1]);
    print_count(out, "quorum", now->replica_count - faults[0], next->replica_count - faults[1]);
    (void)fputc('\n', out);
}

static void print_vote(FILE *out, const struct constitution *now) {
    (void)fprintf(out, "vote       passes with the yes of %u of %u:", preview_votes_needed(now),
                  now->member_count);
    for (uint32_t i = 0; i < now->member_count; i++) {
        (void)fprintf(out, " %s", now->members[i].name);
    }
    (void)fputc('\n', out);
}

static void print_refusal(FILE *out, const struct proposal_verdict *verdict) {
    (void)fputs("REFUSED    ", out);
    if (verdict->action != 0) {
        (void)fprintf(out, "action %u: ", verdict->action);
    }
    (void)fprintf(out, "%s\n", proposal_rule_text(verdict->rule));
}

void preview_print(FILE *out, const struct preview *preview) {
    const struct proposal *const proposal = &preview->proposal;
    (void)fprintf(out, "proposal   %s\nchanges    configuration %llu\n",
                  hex_of(proposal->id.bytes).text, (unsigned long long)proposal->config);
    if (proposal->text.size != 0) {
        (void)fprintf(out, "text       %.*s\n", (int)proposal->text.size,
                      (const char *)proposal->text.data);
    }
    for (uint32_t i = 0; i < proposal->evidence_count; i++) {
        (void)fprintf(out, "evidence   sha256 %s\n", hex_of(proposal->evidence[i].bytes).text);
    }
    for (uint32_t i = 0; i < proposal->action_count; i++) {
        (void)fprintf(out, "action %-2u  ", i + 1);
        print_action(out, preview->now, &proposal->actions[i]);
        (void)fputc('\n', out);
    }
    if (preview->verdict.rule == PROPOSAL_SOUND) {
        print_effect(out, preview->now, &preview->next);
    } else {
        print_refusal(out, &preview->verdict);
    }
    print_vote(out, preview->now);
}

void preview_print_constitution(FILE *out, const struct constitution *constitution) {
    uint32_t const faults = configuration_faults_max(constitution->replica_count);
    const struct parameters *const rules = &constitution->parameters;
    (void)fprintf(out, "service        %s\nconfiguration  %llu\n",
                  hex_of(constitution->service.bytes).text,
                  (unsigned long long)constitution->number);
    (void)fprintf(out,
                  "rules          pipeline %u, checkpoint every %llu batches, window %llu, at most "
                  "%u calls a batch\n",
                  rules->pipeline, (unsigned long long)rules->checkpoint_interval,
                  (unsigned long long)rules->window, rules->batch_calls_max);
    (void)fprintf(out, "quorum         %u of %u, tolerates %u\n",
                  constitution->replica_count - faults, constitution->replica_count, faults);
    (void)fprintf(out, "vote           more than %u/%u of all members: %u of %u\n",
                  constitution->rule.numerator, constitution->rule.denominator,
                  preview_votes_needed(constitution), constitution->member_count);
    for (uint32_t i = 0; i < constitution->member_count; i++) {
        (void)fprintf(out, "member         %s  %s\n",
                      hex_of(constitution->members[i].key.bytes).text,
                      constitution->members[i].name);
    }
    for (uint32_t i = 0; i < constitution->replica_count; i++) {
        const struct replica_identity *const replica = &constitution->replicas[i].identity;
        (void)fprintf(out, "replica        %s  %u %s  clients %s  peers %s\n",
                      hex_of(replica->key.bytes).text, i,
                      constitution->members[replica->member].name, replica->client_address,
                      replica->peer_address);
    }
    for (uint32_t i = 0; i < constitution->user_count; i++) {
        (void)fprintf(out, "user           %s  %s\n", hex_of(constitution->users[i].key.bytes).text,
                      constitution->users[i].name);
    }
}

/* ---- JSON ------------------------------------------------------------------------------------ */

/* Append, as a new reference; a NULL item or list is passed on as NULL. */
static json_t *list_append(json_t *list, json_t *item) {
    if (list == NULL) {
        json_decref(item);
        return NULL;
    }
    if (json_array_append_new(list, item) != 0) {
        json_decref(list);
        return NULL;
    }
    return list;
}

static json_t *parameters_json(const struct parameters *rules) {
    return json_pack("{s:i,s:o,s:o,s:i,s:i}", "pipeline", (int)rules->pipeline,
                     "checkpoint_interval", view_json_u64(rules->checkpoint_interval), "window",
                     view_json_u64(rules->window), "batch_calls_max", (int)rules->batch_calls_max,
                     "batch_size_soft_max", (int)rules->batch_size_soft_max);
}

static json_t *rule_json(const struct voting_rule *rule) {
    return json_pack("{s:i,s:i}", "numerator", (int)rule->numerator, "denominator",
                     (int)rule->denominator);
}

static json_t *endorsed_json(const struct replica_endorsement *replica) {
    return json_pack("{s:o,s:o,s:o,s:o,s:o}", "member", view_json_bytes(replica->member), "key",
                     hex_json(replica->replica_key.bytes), "tls_digest",
                     hex_json(replica->tls_digest.bytes), "peer_address",
                     view_json_bytes(replica->peer_address), "client_address",
                     view_json_bytes(replica->client_address));
}

static json_t *action_json(const struct action *action) {
    const char *const kind = kind_text(action->kind);
    switch (action->kind) {
    case ACTION_ADD_MEMBER:
    case ACTION_ROTATE_MEMBER:
    case ACTION_ADD_USER:
    case ACTION_ROTATE_USER:
        return json_pack("{s:s,s:o,s:o}", "kind", kind, "name", view_json_bytes(action->name),
                         "key", hex_json(action->key.bytes));
    case ACTION_REMOVE_MEMBER:
    case ACTION_REMOVE_USER:
        return json_pack("{s:s,s:o}", "kind", kind, "name", view_json_bytes(action->name));
    case ACTION_ADD_REPLICA:
        return json_pack("{s:s,s:o}", "kind", kind, "replica", endorsed_json(&action->replica));
    case ACTION_REMOVE_REPLICA:
        return json_pack("{s:s,s:o}", "kind", kind, "key", hex_json(action->key.bytes));
    case ACTION_REPLACE_REPLICA:
        return json_pack("{s:s,s:o,s:o}", "kind", kind, "key", hex_json(action->key.bytes),
                         "replica", endorsed_json(&action->replica));
    case ACTION_SET_PARAMETERS:
        return json_pack("{s:s,s:o}", "kind", kind, "parameters",
                         parameters_json(&action->parameters));
    case ACTION_SET_VOTING_RULE:
        return json_pack("{s:s,s:o}", "kind", kind, "rule", rule_json(&action->rule));
    }
    UNREACHABLE();
}

static json_t *size_json(const struct constitution *in) {
    uint32_t const faults = configuration_faults_max(in->replica_count);
    return json_pack("{s:o,s:i,s:i,s:i,s:i,s:i}", "configuration", view_json_u64(in->number),
                     "members", (int)in->member_count, "users", (int)in->user_count, "replicas",
                     (int)in->replica_count, "faults_max", (int)faults, "quorum",
                     (int)(in->replica_count - faults));
}

static json_t *verdict_json(const struct proposal_verdict *verdict) {
    return verdict->rule == PROPOSAL_SOUND
               ? json_null()
               : json_pack("{s:s,s:i}", "text", proposal_rule_text(verdict->rule), "action",
                           (int)verdict->action);
}

json_t *preview_json(const struct preview *preview) {
    const struct proposal *const proposal = &preview->proposal;
    json_t *actions = json_array();
    json_t *evidence = json_array();
    json_t *voters = json_array();
    for (uint32_t i = 0; i < proposal->action_count; i++) {
        actions = list_append(actions, action_json(&proposal->actions[i]));
    }
    for (uint32_t i = 0; i < proposal->evidence_count; i++) {
        evidence = list_append(evidence, hex_json(proposal->evidence[i].bytes));
    }
    for (uint32_t i = 0; i < preview->now->member_count; i++) {
        voters = list_append(voters, json_string(preview->now->members[i].name));
    }
    return json_pack(
        "{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:{s:i,s:o}}", "id", hex_json(proposal->id.bytes),
        "configuration", view_json_u64(proposal->config), "text", view_json_bytes(proposal->text),
        "evidence", evidence, "actions", actions, "refused", verdict_json(&preview->verdict),
        "before", size_json(preview->now), "after",
        preview->verdict.rule == PROPOSAL_SOUND ? size_json(&preview->next) : json_null(), "vote",
        "needed", (int)preview_votes_needed(preview->now), "members", voters);
}

static json_t *holders_json(const struct member *holders, uint32_t count) {
    json_t *list = json_array();
    for (uint32_t i = 0; i < count; i++) {
        list = list_append(list, json_pack("{s:s,s:o}", "name", holders[i].name, "key",
                                           hex_json(holders[i].key.bytes)));
    }
    return list;
}

json_t *preview_constitution_json(const struct constitution *constitution) {
    json_t *replicas = json_array();
    for (uint32_t i = 0; i < constitution->replica_count; i++) {
        const struct replica_identity *const replica = &constitution->replicas[i].identity;
        json_t *const item = json_pack(
            "{s:i,s:s,s:o,s:o,s:s,s:s}", "id", (int)i, "member",
            constitution->members[replica->member].name, "key", hex_json(replica->key.bytes),
            "tls_digest", hex_json(replica->tls_digest.bytes), "peer_address",
            replica->peer_address, "client_address", replica->client_address);
        replicas = list_append(replicas, item);
    }
    return json_pack(
        "{s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "service", hex_json(constitution->service.bytes),
        "configuration", view_json_u64(constitution->number), "parameters",
        parameters_json(&constitution->parameters), "rule", rule_json(&constitution->rule),
        "members", holders_json(constitution->members, constitution->member_count), "replicas",
        replicas, "users", holders_json(constitution->users, constitution->user_count));
}
