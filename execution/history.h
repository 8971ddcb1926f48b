/*
 * history: a second, slower reading of the ledger, for a replica that began with a checkpoint
 * (protocol §7). It starts at genesis and takes what lies before the replica's own ledger unit by
 * unit: all signatures, all rules, all outcomes, all checkpoint digests. What stands is kept by
 * whoever drives it; at the end its own checkpoint must be the one that Q replicas signed.
 *
 * The entries are final wherever they come from, so nothing is ever undone: a unit that stands is
 * settled. After a restart it goes on from the state and snapshot stored last, reads back its
 * window, and takes again what was kept behind it (with sign_sink_trust).
 *
 * A driver's loop over one range, or over what lies on its own disk:
 *
 *     do {
 *         rule = history_take(history, range, end_entry, sink);
 *         keep the entries up to history_next_entry
 *         if ((cut = history_cut(history)) != NULL)
 *             store the state at the cut, then history_stored
 *     } while (rule == RULE_NONE && cut != NULL);
 *
 * One thread at a time. Pure.
 */
#ifndef ONUS_EXECUTION_HISTORY_H
#define ONUS_EXECUTION_HISTORY_H

#include "execution/engine.h"
#include "ledger/batch.h"
#include "ledger/checker.h"
#include "ledger/wire.h"

struct history;

struct history_options {
    const struct configuration *configuration; /* borrowed; the one in force where it begins */
    /*
     * Borrowed: that which the configuration follows from. It then goes from one to the next as
     * the votes decide. NULL: governance is off.
     */
    const struct constitution *constitution;
    struct span genesis;           /* entry 0 */
    const struct state_base *base; /* borrowed; the state of the snapshot; NULL: in memory */
    struct span snapshot; /* an encoded checker_snapshot without window; empty: at genesis */
};

/* NULL: out of memory, or the snapshot contradicts itself. */
MUST_USE struct history *history_new(const struct history_options *options);
void history_free(struct history *history);

/*
 * After a start from a snapshot: the first entry (a pre-prepare) that the window is made from, up
 * to history_next_entry; 0: the window is empty. Load its batches in order, then ask.
 */
uint64_t history_window_entry(const struct history *history);
MUST_USE bool history_load_window(struct history *history, const struct batch *batch);
bool history_window_holds(const struct history *history);

/* Genesis is entry 0 and is known: it begins at 1. */
uint64_t history_next_entry(const struct history *history);
/* The last batch that stands. */
uint64_t history_seq(const struct history *history);
/*
 * The constitution in force, valid until history_take is called again; NULL: governance is off.
 * Whoever keeps a snapshot needs it to begin there: at the end of a configuration it is still the
 * one that ends.
 */
const struct constitution *history_constitution(const struct history *history);
/*
 * Did memory or the base fail, or does the state not say what the votes decided? Then no rule was
 * broken, and nothing more can be said.
 */
bool history_failed(const struct history *history);

/*
 * Take whole batches and new views of a range, from history_next_entry on and not beyond end_entry,
 * until it ends or a checkpoint is due. An incomplete unit at its end is left out. sink checks at
 * once: what it refuses breaks a rule. Hostile input.
 * Returns: the first rule broken, after which history stands before that unit; RULE_ENTRY_ORDER
 * also for a range that does not hold history_next_entry.
 */
MUST_USE enum rule history_take(struct history *history, const struct range_message *range,
                                uint64_t end_entry, const struct sign_sink *sink);

/*
 * The checkpoint that must be stored now, or NULL: its state is that of history_engine at the cut
 * of its seq, settled. Fill in state_count and state_root in a copy, which checkpoint_cut_snapshot
 * (without window) makes into the snapshot to keep; have the base hold it; then history_stored.
 */
const struct checkpoint_cut *history_cut(const struct history *history);
const struct engine *history_engine(const struct history *history);
void history_stored(struct history *history, uint64_t state_count, const struct digest *state_root);

/* Is the last checkpoint stored the one of batch `seq` with this digest? The question of the end.
 */
bool history_leads_to(const struct history *history, uint64_t seq, const struct digest *digest);

/* A sink that checks on the calling thread. context: a const struct digest *, the service. */
bool history_check_signature(void *context, const struct sign_check *check, enum rule rule);

#endif
