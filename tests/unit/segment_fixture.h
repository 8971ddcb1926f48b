/*
 * segment_fixture: ledgers to write and read back, for the tests of segment files. Entry i of a
 * history (`variant`) has a kind and bytes that follow from both, so whatever was read can be told
 * from whatever should be there.
 */
#ifndef ONUS_TESTS_UNIT_SEGMENT_FIXTURE_H
#define ONUS_TESTS_UNIT_SEGMENT_FIXTURE_H

#include "ledger/segment.h"
#include "tests/sim/fake_disk.h"

#define ENTRIES_MAX 256u

extern const struct digest service;
extern const struct digest other_service;

struct entry entry_of(uint64_t i, unsigned variant);
/* Assert that the record is entry i of that history. */
void expect_entry(const struct segment_record *record, uint64_t i, unsigned variant);

/* A writer with small segments. */
enum segment_result open_writer(struct segment_writer *writer, struct fake_disk *fake,
                                struct segment_torn_tail *torn, bool cut, struct problem *problem);
void must_open(struct segment_writer *writer, struct fake_disk *fake);
/* Append entries up to `end` in batches of 4; the last is a boundary too. */
enum segment_result append_upto(struct segment_writer *writer, uint64_t end, unsigned variant,
                                struct problem *problem);
void must_append(struct segment_writer *writer, uint64_t end, unsigned variant);

/* A ledger of `end` entries in several files, the last one open, durable. */
struct fake_disk *ledger_of(uint64_t end);
/* Read to the end. Returns what the reader returned last; *end is the index it came to. */
int read_all(struct fake_disk *fake, bool tolerate, unsigned variant, uint64_t *end,
             struct problem *problem);
void expect_whole(struct fake_disk *fake, uint64_t end);

#endif
