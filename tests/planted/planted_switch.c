/*
 * planted_switch: by the linker's hand each way into a replica's own code, and into the auditor's,
 * leads through here, where the chosen bug is switched on and off (see planted.h).
 */
#include <string.h>
#include <unistd.h>

#include "audit-tool/audit.h"
#include "consensus/replica.h"
#include "tests/planted/planted.h"
#include "tests/sim/cluster.h"

#define SECONDS_MAX 120u /* a bug may make a replica go on for ever */

unsigned planted_bug;

static unsigned chosen; /* 0: none */
static bool is_judging;

static void enter_as(bool auditor) {
    bool const is_its_own = chosen != 0 && planted_bugs[chosen - 1].is_auditors == auditor;
    planted_bug = is_its_own ? chosen : 0;
}

static void enter(void) {
    enter_as(false);
    if (is_judging) {
        planted_bug = 0;
    }
}

static void leave(void) {
    planted_bug = 0;
}

/* ---- the ways into a replica ---- */

enum verdict __real_replica_step(struct replica *replica, const struct event *event,
                                 struct effects *effects);
enum verdict __wrap_replica_step(struct replica *replica, const struct event *event,
                                 struct effects *effects);
enum verdict __wrap_replica_step(struct replica *replica, const struct event *event,
                                 struct effects *effects) {
    enter();
    enum verdict const verdict = __real_replica_step(replica, event, effects);
    leave();
    return verdict;
}

enum codec_result __real_peer_message_decode(struct peer_message *message,
                                             const struct configuration *configuration,
                                             uint32_t from, uint8_t kind, struct span payload);
enum codec_result __wrap_peer_message_decode(struct peer_message *message,
                                             const struct configuration *configuration,
                                             uint32_t from, uint8_t kind, struct span payload);
enum codec_result __wrap_peer_message_decode(struct peer_message *message,
                                             const struct configuration *configuration,
                                             uint32_t from, uint8_t kind, struct span payload) {
    enter();
    enum codec_result const result =
        __real_peer_message_decode(message, configuration, from, kind, payload);
    leave();
    return result;
}

enum reject_reason __real_replica_request_refusal(const struct replica *replica,
                                                  const struct request *request);
enum reject_reason __wrap_replica_request_refusal(const struct replica *replica,
                                                  const struct request *request);
enum reject_reason __wrap_replica_request_refusal(const struct replica *replica,
                                                  const struct request *request) {
    enter();
    enum reject_reason const reason = __real_replica_request_refusal(replica, request);
    leave();
    return reason;
}

void __real_replica_load_past(struct replica *replica, const struct batch *batch);
void __wrap_replica_load_past(struct replica *replica, const struct batch *batch);
void __wrap_replica_load_past(struct replica *replica, const struct batch *batch) {
    enter();
    __real_replica_load_past(replica, batch);
    leave();
}

enum rule __real_replica_load_batch(struct replica *replica, const struct batch *batch,
                                    enum batch_step step);
enum rule __wrap_replica_load_batch(struct replica *replica, const struct batch *batch,
                                    enum batch_step step);
enum rule __wrap_replica_load_batch(struct replica *replica, const struct batch *batch,
                                    enum batch_step step) {
    enter();
    enum rule const rule = __real_replica_load_batch(replica, batch, step);
    leave();
    return rule;
}

void __real_replica_look_at_journal(struct replica *replica, const struct journal_record *record);
void __wrap_replica_look_at_journal(struct replica *replica, const struct journal_record *record);
void __wrap_replica_look_at_journal(struct replica *replica, const struct journal_record *record) {
    enter();
    __real_replica_look_at_journal(replica, record);
    leave();
}

uint64_t __real_replica_load_end(struct replica *replica);
uint64_t __wrap_replica_load_end(struct replica *replica);
uint64_t __wrap_replica_load_end(struct replica *replica) {
    enter();
    uint64_t const entries = __real_replica_load_end(replica);
    leave();
    return entries;
}

void __real_replica_load_journal(struct replica *replica, const struct journal_record *record);
void __wrap_replica_load_journal(struct replica *replica, const struct journal_record *record);
void __wrap_replica_load_journal(struct replica *replica, const struct journal_record *record) {
    enter();
    __real_replica_load_journal(replica, record);
    leave();
}

void __real_replica_load_done(struct replica *replica);
void __wrap_replica_load_done(struct replica *replica);
void __wrap_replica_load_done(struct replica *replica) {
    enter();
    __real_replica_load_done(replica);
    leave();
}

/* ---- the ways into the auditor ---- */

int __real_audit_add_ledger(struct audit *audit, const char *name, const struct disk *disk,
                            struct problem *problem);
int __wrap_audit_add_ledger(struct audit *audit, const char *name, const struct disk *disk,
                            struct problem *problem);
int __wrap_audit_add_ledger(struct audit *audit, const char *name, const struct disk *disk,
                            struct problem *problem) {
    enter_as(true);
    int const status = __real_audit_add_ledger(audit, name, disk, problem);
    leave();
    return status;
}

int __real_audit_add_link(struct audit *audit, const char *name, struct span link,
                          struct problem *problem);
int __wrap_audit_add_link(struct audit *audit, const char *name, struct span link,
                          struct problem *problem);
int __wrap_audit_add_link(struct audit *audit, const char *name, struct span link,
                          struct problem *problem) {
    enter_as(true);
    int const status = __real_audit_add_link(audit, name, link, problem);
    leave();
    return status;
}

int __real_audit_add_receipt(struct audit *audit, const char *name, struct span receipt,
                             struct problem *problem);
int __wrap_audit_add_receipt(struct audit *audit, const char *name, struct span receipt,
                             struct problem *problem);
int __wrap_audit_add_receipt(struct audit *audit, const char *name, struct span receipt,
                             struct problem *problem) {
    enter_as(true);
    int const status = __real_audit_add_receipt(audit, name, receipt, problem);
    leave();
    return status;
}

int __real_audit_run(struct audit *audit, struct problem *problem);
int __wrap_audit_run(struct audit *audit, struct problem *problem);
int __wrap_audit_run(struct audit *audit, struct problem *problem) {
    enter_as(true);
    int const status = __real_audit_run(audit, problem);
    leave();
    return status;
}

/* ---- the judge at the end, who recovers ledgers himself ---- */

void __real_watch_end(struct cluster *cluster);
void __wrap_watch_end(struct cluster *cluster);
void __wrap_watch_end(struct cluster *cluster) {
    is_judging = true;
    __real_watch_end(cluster);
}

/* ---- the choice ---- */

unsigned __real_alarm(unsigned seconds);
unsigned __wrap_alarm(unsigned seconds);
unsigned __wrap_alarm(unsigned seconds) {
    return __real_alarm(seconds < SECONDS_MAX ? seconds : SECONDS_MAX);
}

bool planted_choose(const char *name) {
    for (unsigned i = 0; i < planted_count; i++) {
        if (strcmp(planted_bugs[i].name, name) == 0) {
            chosen = i + 1;
        }
    }
    return chosen != 0 || strcmp(name, "none") == 0;
}
