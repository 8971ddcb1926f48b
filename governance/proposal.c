/*
 * proposal: see proposal.h. Actions apply one after another to a copy, and each must make sense
 * there; what only the whole can answer for, such as how many replicas go, is checked at the end.
 *
 * A name or key that comes in must be free both before and after: who removes a key in one action
 * and gives it to another holder in the next would make one signature two people's.
 */
#include "governance/proposal.h"

#include "base/check.h"
#include "base/sign.h"

/* In a replica's place for its member, once that one is removed. */
#define NOBODY UINT32_MAX

struct change {
    const struct constitution *now;
    struct constitution *next;
    bool changed;
};

const char *proposal_rule_text(enum proposal_rule rule) {
    switch (rule) {
    case PROPOSAL_SOUND:
        return "the proposal is sound";
    case PROPOSAL_CONFIGURATION:
        return "the proposal is for another configuration than the one in force";
    case PROPOSAL_NAME_TAKEN:
        return "the name is taken";
    case PROPOSAL_NO_MEMBER:
        return "there is no such member";
    case PROPOSAL_NO_USER:
        return "there is no such user";
    case PROPOSAL_NO_REPLICA:
        return "there is no replica with that key";
    case PROPOSAL_KEY_INVALID:
        return "the key is not a valid key";
    case PROPOSAL_KEY_TAKEN:
        return "the key is in use";
    case PROPOSAL_POSSESSION:
        return "the new key has not signed for its use";
    case PROPOSAL_ENDORSER:
        return "the replica is endorsed by nobody who is a member";
    case PROPOSAL_ENDORSEMENT:
        return "the member has not signed the replica's endorsement";
    case PROPOSAL_TLS_TAKEN:
        return "another replica has that TLS key";
    case PROPOSAL_MEMBERS_MANY:
        return "there would be too many members";
    case PROPOSAL_USERS_MANY:
        return "there would be too many users";
    case PROPOSAL_REPLICAS_MANY:
        return "there would be too many replicas";
    case PROPOSAL_PARAMETERS:
        return "the parameters are out of bounds";
    case PROPOSAL_WINDOW:
        return "the window of requests stays as it was founded";
    case PROPOSAL_VOTING_RULE:
        return "the voting rule is not a fraction from 1/2 to below 1 that is allowed";
    case PROPOSAL_NOTHING:
        return "the proposal changes nothing";
    case PROPOSAL_MEMBERS_NONE:
        return "no member would be left";
    case PROPOSAL_REPLICAS_FEW:
        return "there would be too few replicas";
    case PROPOSAL_OPERATOR:
        return "a replica would be left whose member is removed";
    case PROPOSAL_REPLICAS_GONE:
        return "more replicas are removed or replaced than may be at once";
    case PROPOSAL_REPLICAS_FRESH:
        return "more replicas are new than may be at once";
    case PROPOSAL_RULE_COUNT:
        break;
    }
    UNREACHABLE();
}

/* ---- keys ------------------------------------------------------------------------------------ */

static enum proposal_rule possession_check(const struct change *change,
                                           const struct possession *possession,
                                           const struct signature *signature) {
    uint8_t memory[POSSESSION_SIZE_MAX];
    struct buffer body;
    buffer_init_on(&body, memory, sizeof memory);
    CHECK(possession_encode(&body, possession));
    struct sign_check const check = {
        .key = possession->key,
        .signature = *signature,
        .body = buffer_span(&body),
        .label = LABEL_POSSESSION,
    };
    return sign_verify_universal(&change->now->service, &check) ? PROPOSAL_SOUND
                                                                : PROPOSAL_POSSESSION;
}

/* A key that nobody has, now or after the actions so far, and whose holder wants it used so. */
static enum proposal_rule key_check(const struct change *change,
                                    const struct possession *possession,
                                    const struct signature *signature) {
    if (constitution_has_key(change->now, &possession->key) ||
        constitution_has_key(change->next, &possession->key)) {
        return PROPOSAL_KEY_TAKEN;
    }
    if (!public_key_valid(&possession->key)) {
        return PROPOSAL_KEY_INVALID;
    }
    return possession_check(change, possession, signature);
}

/* ---- members and users ----------------------------------------------------------------------- */

static void name_copy(char out[NAME_SIZE_MAX + 1], struct span name) {
    CHECK(name.size <= NAME_SIZE_MAX);
    memcpy(out, name.data, name.size);
    out[name.size] = '\0';
}

static void holder_append(struct member *list, uint32_t *count, const struct action *action) {
    struct member *const holder = &list[(*count)++];
    *holder = (struct member){.key = action->key};
    name_copy(holder->name, action->name);
}

static void holder_remove(struct member *list, uint32_t *count, uint32_t position) {
    (*count)--;
    memmove(&list[position], &list[position + 1], (*count - position) * sizeof *list);
}

static struct possession possession_of(enum holder_role role, const struct action *action) {
    return (struct possession){.role = role, .name = action->name, .key = action->key};
}

static enum proposal_rule add_member(struct change *change, const struct action *action) {
    struct constitution *const next = change->next;
    struct possession const possession = possession_of(HOLDER_MEMBER, action);
    uint32_t position = 0;
    if (constitution_find_member(change->now, action->name, &position) ||
        constitution_find_member(next, action->name, &position)) {
        return PROPOSAL_NAME_TAKEN;
    }
    if (next->member_count == MEMBERS_MAX) {
        return PROPOSAL_MEMBERS_MANY;
    }
    enum proposal_rule const rule = key_check(change, &possession, &action->possession);
    if (rule == PROPOSAL_SOUND) {
        holder_append(next->members, &next->member_count, action);
    }
    return rule;
}

/* Its replicas have to find another operator, or go, by the end of the proposal. */
static enum proposal_rule remove_member(struct change *change, const struct action *action) {
    struct constitution *const next = change->next;
    uint32_t position = 0;
    if (!constitution_find_member(next, action->name, &position)) {
        return PROPOSAL_NO_MEMBER;
    }
    holder_remove(next->members, &next->member_count, position);
    for (uint32_t i = 0; i < next->replica_count; i++) {
        uint32_t *const member = &next->replicas[i].identity.member;
        if (*member == position) {
            *member = NOBODY;
        } else if (*member != NOBODY && *member > position) {
            (*member)--;
        }
    }
    return PROPOSAL_SOUND;
}

/* Endorsements under the old key stay: they were good when they were given. */
static enum proposal_rule rotate_member(struct change *change, const struct action *action) {
    struct possession const possession = possession_of(HOLDER_MEMBER, action);
    uint32_t position = 0;
    if (!constitution_find_member(change->next, action->name, &position)) {
        return PROPOSAL_NO_MEMBER;
    }
    enum proposal_rule const rule = key_check(change, &possession, &action->possession);
    if (rule == PROPOSAL_SOUND) {
        change->next->members[position].key = action->key;
    }
    return rule;
}

static enum proposal_rule add_user(struct change *change, const struct action *action) {
    struct constitution *const next = change->next;
    struct possession const possession = possession_of(HOLDER_USER, action);
    uint32_t position = 0;
    if (constitution_find_user(change->now, action->name, &position) ||
        constitution_find_user(next, action->name, &position)) {
        return PROPOSAL_NAME_TAKEN;
    }
    if (next->user_count == USERS_MAX) {
        return PROPOSAL_USERS_MANY;
    }
    enum proposal_rule const rule = key_check(change, &possession, &action->possession);
    if (rule == PROPOSAL_SOUND) {
        holder_append(next->users, &next->user_count, action);
    }
    return rule;
}

static enum proposal_rule remove_user(struct change *change, const struct action *action) {
    uint32_t position = 0;
    if (!constitution_find_user(change->next, action->name, &position)) {
        return PROPOSAL_NO_USER;
    }
    holder_remove(change->next->users, &change->next->user_count, position);
    return PROPOSAL_SOUND;
}

static enum proposal_rule rotate_user(struct change *change, const struct action *action) {
    struct possession const possession = possession_of(HOLDER_USER, action);
    uint32_t position = 0;
    if (!constitution_find_user(change->next, action->name, &position)) {
        return PROPOSAL_NO_USER;
    }
    enum proposal_rule const rule = key_check(change, &possession, &action->possession);
    if (rule == PROPOSAL_SOUND) {
        change->next->users[position].key = action->key;
    }
    return rule;
}

/* ---- replicas -------------------------------------------------------------------------------- */

/* Is it the one that replica `but` has, or nobody's? NOBODY: there is no such replica. */
static bool tls_free(const struct constitution *in, const struct digest *tls, uint32_t but) {
    for (uint32_t i = 0; i < in->replica_count; i++) {
        if (i != but && digest_equal(&in->replicas[i].identity.tls_digest, tls)) {
            return false;
        }
    }
    return true;
}

/* The member that endorses a replica, by the key that it has after the actions so far. */
static enum proposal_rule endorsement_check(const struct change *change,
                                            const struct action *action, uint32_t *member) {
    if (!constitution_find_member(change->next, action->replica.member, member)) {
        return PROPOSAL_ENDORSER;
    }
    struct sign_check const check = {
        .key = change->next->members[*member].key,
        .signature = action->endorsement.signature,
        .body = action->endorsement.body,
        .label = LABEL_REPLICA_GIVEN,
    };
    return sign_verify_universal(&change->now->service, &check) ? PROPOSAL_SOUND
                                                                : PROPOSAL_ENDORSEMENT;
}

/* Fill in a replica's place with what was endorsed. keeps_key: it has that key already. */
static enum proposal_rule replica_put(struct change *change, const struct action *action,
                                      uint32_t position, bool keeps_key) {
    struct possession const possession = {
        .role = HOLDER_REPLICA, .name = action->replica.member, .key = action->replica.replica_key};
    uint32_t member = 0;
    if (!tls_free(change->next, &action->replica.tls_digest, position)) {
        return PROPOSAL_TLS_TAKEN;
    }
    enum proposal_rule rule = keeps_key ? possession_check(change, &possession, &action->possession)
                                        : key_check(change, &possession, &action->possession);
    if (rule == PROPOSAL_SOUND) {
        rule = endorsement_check(change, action, &member);
    }
    if (rule == PROPOSAL_SOUND) {
        constitution_replica_fill(&change->next->replicas[position], member, false,
                                  &action->endorsement, &action->replica);
    }
    return rule;
}

static enum proposal_rule add_replica(struct change *change, const struct action *action) {
    uint32_t const position = change->next->replica_count;
    if (position == REPLICAS_MAX) {
        return PROPOSAL_REPLICAS_MANY;
    }
    enum proposal_rule const rule = replica_put(change, action, position, false);
    change->next->replica_count += rule == PROPOSAL_SOUND;
    return rule;
}

static enum proposal_rule remove_replica(struct change *change, const struct action *action) {
    struct constitution *const next = change->next;
    uint32_t position = 0;
    if (!constitution_find_replica(next, &action->key, &position)) {
        return PROPOSAL_NO_REPLICA;
    }
    next->replica_count--;
    memmove(&next->replicas[position], &next->replicas[position + 1],
            (next->replica_count - position) * sizeof next->replicas[0]);
    return PROPOSAL_SOUND;
}

static bool replica_equal(const struct constitution_replica *a,
                          const struct constitution_replica *b) {
    return span_equal(constitution_endorsement(a), constitution_endorsement(b)) &&
           memcmp(&a->signature, &b->signature, sizeof a->signature) == 0;
}

static enum proposal_rule replace_replica(struct change *change, const struct action *action) {
    uint32_t position = 0;
    if (!constitution_find_replica(change->next, &action->key, &position)) {
        return PROPOSAL_NO_REPLICA;
    }
    struct constitution_replica const old = change->next->replicas[position];
    bool const keeps_key = public_key_equal(&action->key, &action->replica.replica_key);
    enum proposal_rule const rule = replica_put(change, action, position, keeps_key);
    change->changed |=
        rule == PROPOSAL_SOUND && !replica_equal(&old, &change->next->replicas[position]);
    return rule;
}

uint32_t proposal_gone_max(uint32_t replicas_now) {
    return configuration_faults_max(replicas_now);
}

uint32_t proposal_fresh_max(uint32_t replicas_next) {
    uint32_t const faults_max = configuration_faults_max(replicas_next);
    return replicas_next - 2 * faults_max - 1;
}

/* Replicas that stand in the new constitution just as they stood in the old one. */
static uint32_t replicas_kept(const struct change *change) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < change->now->replica_count; i++) {
        const struct constitution_replica *const old = &change->now->replicas[i];
        uint32_t position = 0;
        kept += constitution_find_replica(change->next, &old->identity.key, &position) &&
                replica_equal(old, &change->next->replicas[position]);
    }
    return kept;
}

static uint32_t replicas_fresh(const struct change *change) {
    uint32_t fresh = 0;
    for (uint32_t i = 0; i < change->next->replica_count; i++) {
        uint32_t position = 0;
        fresh += !constitution_find_replica(change->now, &change->next->replicas[i].identity.key,
                                            &position);
    }
    return fresh;
}

/* ---- parameters and voting ------------------------------------------------------------------- */

static bool parameters_equal(const struct parameters *a, const struct parameters *b) {
    return a->pipeline == b->pipeline && a->checkpoint_interval == b->checkpoint_interval &&
           a->window == b->window && a->batch_calls_max == b->batch_calls_max &&
           a->batch_size_soft_max == b->batch_size_soft_max;
}

static enum proposal_rule set_parameters(struct change *change, const struct action *action) {
    if (!parameters_sound(&action->parameters)) {
        return PROPOSAL_PARAMETERS;
    }
    /* With a longer window, what was forgotten by the shorter one could be executed again. */
    if (action->parameters.window != change->next->parameters.window) {
        return PROPOSAL_WINDOW;
    }
    change->changed |= !parameters_equal(&change->next->parameters, &action->parameters);
    change->next->parameters = action->parameters;
    return PROPOSAL_SOUND;
}

static enum proposal_rule set_voting_rule(struct change *change, const struct action *action) {
    struct voting_rule *const rule = &change->next->rule;
    if (!voting_rule_sound(&action->rule)) {
        return PROPOSAL_VOTING_RULE;
    }
    change->changed |=
        rule->numerator != action->rule.numerator || rule->denominator != action->rule.denominator;
    *rule = action->rule;
    return PROPOSAL_SOUND;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static enum proposal_rule action_apply(struct change *change, const struct action *action) {
    switch (action->kind) {
    case ACTION_REPLACE_REPLICA: /* these three may leave everything as it is */
        return replace_replica(change, action);
    case ACTION_SET_PARAMETERS:
        return set_parameters(change, action);
    case ACTION_SET_VOTING_RULE:
        return set_voting_rule(change, action);
    case ACTION_ADD_MEMBER:
        change->changed = true;
        return add_member(change, action);
    case ACTION_REMOVE_MEMBER:
        change->changed = true;
        return remove_member(change, action);
    case ACTION_ROTATE_MEMBER:
        change->changed = true;
        return rotate_member(change, action);
    case ACTION_ADD_USER:
        change->changed = true;
        return add_user(change, action);
    case ACTION_REMOVE_USER:
        change->changed = true;
        return remove_user(change, action);
    case ACTION_ROTATE_USER:
        change->changed = true;
        return rotate_user(change, action);
    case ACTION_ADD_REPLICA:
        change->changed = true;
        return add_replica(change, action);
    case ACTION_REMOVE_REPLICA:
        change->changed = true;
        return remove_replica(change, action);
    }
    UNREACHABLE();
}

static enum proposal_rule whole_check(const struct change *change) {
    const struct constitution *const now = change->now;
    const struct constitution *const next = change->next;
    if (!change->changed) {
        return PROPOSAL_NOTHING;
    }
    if (next->member_count == 0) {
        return PROPOSAL_MEMBERS_NONE;
    }
    if (next->replica_count < REPLICAS_MIN) {
        return PROPOSAL_REPLICAS_FEW;
    }
    for (uint32_t i = 0; i < next->replica_count; i++) {
        if (next->replicas[i].identity.member == NOBODY) {
            return PROPOSAL_OPERATOR;
        }
    }
    if (now->replica_count - replicas_kept(change) > proposal_gone_max(now->replica_count)) {
        return PROPOSAL_REPLICAS_GONE;
    }
    if (replicas_fresh(change) > proposal_fresh_max(next->replica_count)) {
        return PROPOSAL_REPLICAS_FRESH;
    }
    return PROPOSAL_SOUND;
}

struct proposal_verdict proposal_apply(struct constitution *next, const struct constitution *now,
                                       const struct proposal *proposal) {
    struct change change = {.now = now, .next = next};
    if (proposal->config != now->number) {
        return (struct proposal_verdict){.rule = PROPOSAL_CONFIGURATION};
    }
    *next = *now;
    next->number = now->number + 1;
    for (uint32_t i = 0; i < proposal->action_count; i++) {
        enum proposal_rule const rule = action_apply(&change, &proposal->actions[i]);
        if (rule != PROPOSAL_SOUND) {
            return (struct proposal_verdict){.rule = rule, .action = i + 1};
        }
    }
    return (struct proposal_verdict){.rule = whole_check(&change)};
}
