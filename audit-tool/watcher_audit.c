/*
 * watcher_audit: what to audit in a round, and doing it (watcher.h).
 *
 * There are three ways. Onward: from our own last state on; the root of M in the first batch
 * behind it binds all that was audited before. Again: from that state on too, but what lies before
 * is read, and late receipts are held against it. Anew: from genesis, with all receipts. Whatever
 * does not fit on one way is a matter for the next.
 *
 * Invariant: what an audit found is durable before the state is that the next one begins at. And
 * receipts that an audit did not have are late from then on, whenever it is cut off.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "audit-tool/watcher_internal.h"
#include "governance/founding.h"
#include "host/clock.h"

#define SAVE_INTERVAL_MS 10000u /* how much work a killed audit loses at most, or so */
#define REREAD_SHARE 10u        /* reading again takes one part in so many of the time */
#define ARENA_SIZE (1u << 20)
#define LEFT_TRIES_MAX 3u /* so often may damage be what somebody is just writing */

enum watch_way { WAY_ONWARD, WAY_AGAIN, WAY_ANEW };

/* ---- receipts into an audit ---- */

struct giving {
    struct watcher *watcher;
    struct problem *problem;
};

/*
 * A receipt that was kept does not hold. In a later configuration that may be since it brought
 * links of another chain than the ledgers have gone along with: then it waits for ever, and who
 * signed both is for the audit to say.
 */
static int judge_unfit(const struct giving *giving, const struct stored_claim *stored) {
    uint64_t config = 0;
    struct arena arena;
    char text[PROBLEM_TEXT_SIZE];
    arena_init(&arena, ARENA_SIZE);
    bool const decodes = certificate_config(&config, &arena, stored->certificate);
    arena_free(&arena);
    if (!decodes || config == FOUNDING_CONFIGURATION) {
        return problem_set(giving->problem, EXIT_CORRUPT,
                           "%s/store: a receipt that was kept is damaged; begin with another "
                           "--state",
                           giving->watcher->state);
    }
    (void)snprintf(text, sizeof text,
                   "receipts of configuration %" PRIu64
                   ", taken in by the links that they brought, "
                   "do not hold by its keys as the ledgers have come to it",
                   config);
    return watch_tell_line(giving->watcher, WATCH_CANNOT, text, giving->problem);
}

/* Of a configuration that the audit has not come to yet: it waits there. */
static int give_claim(void *context, const struct stored_claim *stored) {
    struct giving *const giving = context;
    enum receipt_check check = RECEIPT_VALID;
    if (audit_add_claim(giving->watcher->audit, stored->certificate, stored->receipts, &check,
                        giving->problem) != 0) {
        return -1;
    }
    return check == RECEIPT_VALID ? 0 : judge_unfit(giving, stored);
}

static int give_claims(struct watcher *watcher, enum watch_way way, struct problem *problem) {
    struct giving giving = {.watcher = watcher, .problem = problem};
    uint64_t const from = way == WAY_ANEW ? 0 : watcher->base + 1;
    int status = watcher_store_visit_from(watcher->store, from, give_claim, &giving, problem);
    if (status == 0 && way == WAY_AGAIN) {
        status = watcher_store_visit_late(watcher->store, give_claim, &giving, problem);
    }
    if (status == 0) {
        status = watcher_store_visit_shown(watcher->store, give_claim, &giving, problem);
    }
    return status;
}

/* ---- what becomes durable ---- */

struct settling {
    struct store_write *write;
    struct problem *problem;
};

static int settle_claim(void *context, const struct audit_claim *claim) {
    const struct settling *const settling = context;
    return watcher_store_settle(settling->write, claim, settling->problem);
}

static int show_nonce(void *context, const struct verified_batch *batch, struct span certificate) {
    const struct settling *const settling = context;
    return watcher_store_show(settling->write, batch, certificate, settling->problem);
}

static int tell_findings(struct watcher *watcher, struct problem *problem) {
    const struct audit_report *const report = audit_report(watcher->audit);
    for (; watcher->told < report->finding_count; watcher->told++) {
        const struct audit_finding *const finding = &report->findings[watcher->told];
        if (watch_tell_finding(watcher, &finding->verdict, buffer_span(&finding->file), problem) !=
            0) {
            return -1;
        }
    }
    return 0;
}

static int put_audited(const struct watcher *watcher, struct store_write *write,
                       struct problem *problem) {
    uint8_t value[WATCH_AUDITED_SIZE];
    store_u64_be(value, watcher->status.audited_batch);
    store_u64_be(value + 8, watcher->status.view);
    store_u64_be(value + 16, watcher->status.evidenced);
    store_u64_be(value + 24, watcher->owes_anew);
    store_u64_be(value + 32, watcher->status.config);
    return watcher_store_put(write, WATCH_AUDITED, span_of(value, sizeof value), problem);
}

/* What came of it, in one write. base: where the next audit is to begin. ended: it ran to its end
 */
static int settle(struct watcher *watcher, enum watch_way way, uint64_t base, bool ended,
                  struct problem *problem) {
    struct store_write *const write = watcher_store_begin(watcher->store, problem);
    struct settling settling = {.write = write, .problem = problem};
    int status = write == NULL ? -1 : 0;
    if (status == 0 && ended) {
        status = audit_visit_claims(watcher->audit, settle_claim, &settling);
    }
    if (status == 0) {
        status = audit_visit_revealed(watcher->audit, show_nonce, &settling);
    }
    if (status == 0) {
        status = watcher_store_pass(write, base, problem);
    }
    if (status == 0 && ended && way != WAY_ONWARD) {
        status = watcher_store_tried(write, problem);
    }
    if (status == 0 && ended) {
        status = watch_ledgers_save(watcher, write, problem) == 0
                     ? put_audited(watcher, write, problem)
                     : -1;
    }
    if (status == 0) {
        return watcher_store_commit(write, problem);
    }
    watcher_store_abort(write);
    return problem_set(problem, EXIT_ERROR, "%s/store: cannot be written", watcher->state);
}

/* The state to go on from is this one now. */
static int move_base(struct watcher *watcher, const struct audit *audit, uint64_t seq,
                     struct problem *problem) {
    if (state_dir_save(&watcher->states, audit, seq, false, problem) != 0) {
        return -1;
    }
    watcher->base = seq;
    watcher->saved_ms = clock_monotonic_ms();
    return 0;
}

/* ---- while it runs ---- */

static void on_batch(void *context, const struct audit_report *report) {
    (void)context;
    (void)report;
}

static int on_checkpoint(void *context, const struct audit *audit, uint64_t seq,
                         struct problem *problem) {
    struct watcher *const watcher = context;
    bool const stops = watch_stops(watcher);
    if (!stops && clock_monotonic_ms() - watcher->saved_ms < SAVE_INTERVAL_MS) {
        return 0;
    }
    if (tell_findings(watcher, problem) != 0 ||
        settle(watcher, WAY_ONWARD, seq, false, problem) != 0 ||
        move_base(watcher, audit, seq, problem) != 0) {
        return -1;
    }
    watcher->was_stopped = stops;
    return stops ? problem_set(problem, EXIT_OK, "stopped") : 0;
}

/* ---- ledgers ---- */

/* Is it of any use to this audit? */
static bool is_wanted(const struct watch_ledger *ledger, enum watch_way way) {
    return way == WAY_ANEW || ledger->left != ledger->print;
}

static int open_ledgers(struct watcher *watcher, enum watch_way way, struct problem *problem) {
    struct sources *const sources = &watcher->sources;
    sources_close_ledgers(sources);
    for (uint32_t i = 0; i < watcher->ledger_count; i++) {
        if (is_wanted(&watcher->ledgers[i], way)) {
            watcher->included[sources->ledger_count] = i;
            sources->ledger_paths[sources->ledger_count++] = watcher->ledgers[i].path;
        }
    }
    return sources_open_ledgers(sources, problem);
}

/* Does the notice name a place in this directory? */
static bool is_about(const struct problem *notice, const char *path) {
    size_t const size = strlen(path);
    return strncmp(notice->text, path, size) == 0 &&
           (notice->text[size] == '/' || notice->text[size] == ':');
}

static bool has_damage(const struct audit_report *report, const char *path) {
    for (uint32_t i = 0; i < report->notice_count; i++) {
        if (report->notices[i].code == EXIT_CORRUPT && is_about(&report->notices[i], path)) {
            return true;
        }
    }
    return false;
}

/* What the audit says of one ledger. still: nobody wrote to it meanwhile. */
static void judge_ledger(struct watcher *watcher, struct watch_ledger *ledger,
                         const struct ledger_coverage *coverage, enum watch_way way, bool still) {
    uint64_t const base = way == WAY_ONWARD ? watcher->base : 0;
    bool const has_begun = coverage->last_batch > base;
    ledger->audited = ledger->print;
    ledger->is_behind = way == WAY_ONWARD && coverage->state == LEDGER_ENDED && !has_begun;
    if (way != WAY_ONWARD) {
        ledger->reread = ledger->print;
    }
    if (coverage->state != LEDGER_LEFT) {
        ledger->left = 0;
        ledger->tries = 0;
        ledger->is_damaged = false;
        if (way != WAY_ONWARD || ledger->compared >= base) {
            ledger->compared = coverage->last_batch > ledger->compared || way != WAY_ONWARD
                                   ? coverage->last_batch
                                   : ledger->compared;
        }
        return;
    }
    if (!still && ledger->tries < LEFT_TRIES_MAX) {
        ledger->tries++;
        ledger->audited = 0; /* perhaps it was being written: look again */
        return;
    }
    ledger->left = ledger->print;
    ledger->is_damaged = has_damage(audit_report(watcher->audit), ledger->path);
    watcher->owes_anew |= way == WAY_ONWARD && !has_begun;
}

static void judge_ledgers(struct watcher *watcher, enum watch_way way) {
    const struct audit_coverage *const coverage = &audit_report(watcher->audit)->coverage;
    for (uint32_t i = 0; i < coverage->ledger_count; i++) {
        struct watch_ledger *const ledger = &watcher->ledgers[watcher->included[i]];
        judge_ledger(watcher, ledger, &coverage->ledgers[i], way,
                     watch_ledger_print(ledger->path) == ledger->print);
    }
}

/* ---- what else it says ---- */

/* Damage is told when nobody wrote to the ledger meanwhile. */
static bool is_settled(const struct watcher *watcher, const struct problem *notice) {
    for (uint32_t i = 0; i < watcher->ledger_count; i++) {
        if (is_about(notice, watcher->ledgers[i].path)) {
            return watcher->ledgers[i].audited != 0;
        }
    }
    return true;
}

/*
 * The notices about receipts that no ledger reaches, or whose configuration none has come to, come
 * last: that is the state of things while a service runs, and the status tells it. What does not
 * fit onward is told by the audit anew.
 */
static int tell_notices(struct watcher *watcher, enum watch_way way, struct problem *problem) {
    const struct audit_report *const report = audit_report(watcher->audit);
    uint32_t const count = report->notice_count;
    uint32_t const states =
        (report->has_unchecked ? 1u : 0u) + (report->coverage.receipts_unknown != 0 ? 1u : 0u);
    watcher->cannot = false;
    for (uint32_t i = 0; i < count; i++) {
        const struct problem *const notice = &report->notices[i];
        bool const is_missing = notice->code != EXIT_CORRUPT;
        if (is_missing && count - i <= states) {
            continue;
        }
        if (is_missing && way != WAY_ANEW) {
            watcher->owes_anew = true;
            continue;
        }
        watcher->cannot |= is_missing;
        if (is_settled(watcher, notice) &&
            watch_tell_line(watcher, is_missing ? WATCH_CANNOT : WATCH_CORRUPTION, notice->text,
                            problem) != 0) {
            return -1;
        }
    }
    return 0;
}

/* Views begin anew in each configuration. */
static void cover_view(struct watcher *watcher, const struct audit_coverage *coverage) {
    struct watch_status *const status = &watcher->status;
    bool const goes_over = status->config != 0 && coverage->last_config > status->config;
    bool const has_views = coverage->views != 0 && coverage->views_config == coverage->last_config;
    watcher->owes_claim |=
        goes_over || (has_views && status->view != 0 && coverage->last_view > status->view);
    status->view = has_views                                 ? coverage->last_view
                   : coverage->last_config == status->config ? status->view
                                                             : 0;
    status->config = coverage->last_config;
}

static void cover(struct watcher *watcher, enum watch_way way) {
    const struct audit_report *const report = audit_report(watcher->audit);
    struct watch_status *const status = &watcher->status;
    uint64_t const skipped = way == WAY_AGAIN ? report->coverage.resumed_seq : 0;
    status->replayed += report->batches - (skipped < report->batches ? skipped : report->batches);
    status->read_again |= way != WAY_ONWARD;
    if (report->coverage.first_batch != 0) {
        cover_view(watcher, &report->coverage);
        status->audited_batch = report->coverage.last_batch;
        status->evidenced = report->coverage.evidenced;
    }
}

/* ---- one audit ---- */

static int prepare(struct watcher *watcher, enum watch_way way, struct problem *problem) {
    if (open_ledgers(watcher, way, problem) != 0 ||
        (way == WAY_ANEW && sources_bring_chain(&watcher->states, watcher->audit, problem) != 0) ||
        (way != WAY_ANEW && (sources_begin_at(&watcher->sources, &watcher->states, watcher->audit,
                                              watcher->base, problem) != 0 ||
                             audit_continue(watcher->audit, way == WAY_AGAIN, problem) != 0)) ||
        sources_give(&watcher->sources, watcher->audit, problem) != 0) {
        return -1;
    }
    return give_claims(watcher, way, problem);
}

/* What an audit that ran to its end comes to. */
static int conclude(struct watcher *watcher, enum watch_way way, struct problem *problem) {
    uint64_t const saveable = audit_saveable(watcher->audit);
    uint64_t const base =
        saveable > watcher->base || (way == WAY_ANEW && saveable != 0) ? saveable : watcher->base;
    judge_ledgers(watcher, way);
    cover(watcher, way);
    watcher->has_audited = true;
    if (way == WAY_ANEW) {
        watcher->owes_anew = false;
    }
    if (way != WAY_ONWARD) {
        watcher->owes_claim = false;
    }
    if (tell_findings(watcher, problem) != 0 || tell_notices(watcher, way, problem) != 0 ||
        state_dir_save_chain(&watcher->states, watcher->audit, problem) != 0 ||
        settle(watcher, way, base, true, problem) != 0) {
        return -1;
    }
    return base != watcher->base ? move_base(watcher, watcher->audit, base, problem) : 0;
}

static void close_audit(struct watcher *watcher) {
    audit_free(watcher->audit);
    watcher->audit = NULL;
    sources_close_ledgers(&watcher->sources);
}

/* Returns: 0; 1: only an audit anew can tell; or -1. */
static int audit_on(struct watcher *watcher, enum watch_way way, struct problem *problem) {
    struct audit_watcher const events = {
        .context = watcher, .on_batch = on_batch, .on_checkpoint = on_checkpoint};
    struct problem own = {.code = EXIT_OK};
    watcher->told = 0;
    watcher->was_stopped = false;
    watcher->saved_ms = clock_monotonic_ms();
    watcher->audit = audit_new(&(struct audit_options){
        .configuration = &watcher->options.founding->configuration,
        .genesis = watcher->options.founding->genesis.bytes,
        .jobs = watcher->options.jobs,
        .watcher = &events,
    });
    int status = watcher->audit == NULL ? problem_set(&own, EXIT_ERROR, "out of memory") : 0;
    bool anew = false;
    if (status == 0) {
        status = prepare(watcher, way, &own);
        anew = status != 0 && way != WAY_ANEW; /* the state is damaged, or gone */
    }
    if (status == 0) {
        status = audit_run(watcher->audit, &own);
        anew = status != 0 && way != WAY_ANEW && audit_must_start_anew(watcher->audit);
        if (status == 0) {
            status = conclude(watcher, way, &own);
        }
    }
    close_audit(watcher);
    if (watcher->was_stopped) {
        return 0;
    }
    return status == 0 ? 0 : anew ? 1 : problem_set(problem, own.code, "%s", own.text);
}

/* ---- which way ---- */

/* Is there anything that an audit onward has not seen? */
static bool has_news(const struct watcher *watcher) {
    bool news = watcher->status.receipts != watcher->kept_audited;
    for (uint32_t i = 0; i < watcher->ledger_count; i++) {
        const struct watch_ledger *const ledger = &watcher->ledgers[i];
        news |= ledger->print != ledger->audited && is_wanted(ledger, WAY_ONWARD);
    }
    return news;
}

/* Did a ledger get here without being compared from its beginning? */
static bool has_uncompared(const struct watcher *watcher) {
    for (uint32_t i = 0; i < watcher->ledger_count; i++) {
        const struct watch_ledger *const ledger = &watcher->ledgers[i];
        if (ledger->compared < watcher->base && ledger->reread != ledger->print &&
            is_wanted(ledger, WAY_AGAIN)) {
            return true;
        }
    }
    return false;
}

static bool may_reread(const struct watcher *watcher) {
    return watcher->reread_cost_ms == 0 ||
           clock_monotonic_ms() - watcher->reread_ms >= watcher->reread_cost_ms * REREAD_SHARE;
}

/* All of it again, as far as is needed. */
static int reread(struct watcher *watcher, bool anew, struct problem *problem) {
    uint64_t const start_ms = clock_monotonic_ms();
    int status = anew ? 1 : audit_on(watcher, WAY_AGAIN, problem);
    if (status == 0 && watcher->owes_anew) {
        status = 1;
    }
    if (status == 1) {
        status = audit_on(watcher, WAY_ANEW, problem);
    }
    watcher->reread_ms = clock_monotonic_ms();
    watcher->reread_cost_ms = watcher->reread_ms - start_ms;
    return status;
}

static bool has_wanted(const struct watcher *watcher, enum watch_way way) {
    for (uint32_t i = 0; i < watcher->ledger_count; i++) {
        if (is_wanted(&watcher->ledgers[i], way)) {
            return true;
        }
    }
    return false;
}

/* Onward; and when that shows that more is to be read, and it is time for it, that too. */
static int audit_news(struct watcher *watcher, bool is_owed, struct problem *problem) {
    int status = 0;
    bool const rereads = is_owed && may_reread(watcher);
    if (rereads && (watcher->owes_anew || has_wanted(watcher, WAY_AGAIN))) {
        return reread(watcher, watcher->owes_anew, problem);
    }
    if (has_news(watcher) && has_wanted(watcher, WAY_ONWARD)) {
        status = audit_on(watcher, WAY_ONWARD, problem);
    }
    if (status == 1) {
        return reread(watcher, true, problem);
    }
    if (status == 0 && watcher->owes_anew && !watcher->was_stopped && may_reread(watcher)) {
        return reread(watcher, true, problem);
    }
    return status;
}

int watch_audit(struct watcher *watcher, struct problem *problem) {
    struct store_counts counts;
    if (watch_ledgers_list(watcher, problem) != 0 ||
        watcher_store_count(watcher->store, &counts, problem) != 0) {
        return -1;
    }
    watcher->status.receipts = counts.kept;
    int status = 0;
    if (watcher->ledger_count == 0) {
        status = 0; /* nothing to hold receipts against yet */
    } else if (watcher->base == 0) {
        status = has_news(watcher) ? audit_on(watcher, WAY_ANEW, problem) : 0;
    } else {
        bool const is_owed = watcher->owes_anew || counts.untried != 0 ||
                             (watcher->owes_claim && counts.late != 0) || has_uncompared(watcher);
        status = audit_news(watcher, is_owed, problem);
    }
    watcher->kept_audited = counts.kept;
    return status;
}
