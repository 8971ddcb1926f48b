/*
 * tally: see tally.h. The answer has a receipt, but what is printed of it is checked all the same.
 */
#include "client/tally.h"

#include "client/preview.h"
#include "client/view.h"

#define NAME_TEXT_SIZE (NAME_SIZE_MAX + 1u)

static bool number_take(uint64_t *out, struct span text) {
    uint64_t number = 0;
    if (text.size == 0 || text.size > 19) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        number = number * 10 + (uint64_t)(text.data[i] - '0');
    }
    *out = number;
    return true;
}

int tally_take(struct tally *out, const struct outcome *outcome, struct problem *problem) {
    bool ok = outcome->reply_count >= 2 && outcome->reply_count <= BALLOT_REPLY_ITEMS_MAX &&
              number_take(&out->in_force, outcome->reply[0]) &&
              number_take(&out->newest, outcome->reply[1]);
    out->count = 0;
    for (uint32_t i = 2; ok && i < outcome->reply_count; i++) {
        ok = ballot_line_read(&out->lines[out->count++], outcome->reply[i]);
    }
    return ok ? 0
              : problem_set(problem, EXIT_ERROR,
                            "the answer to gov.open cannot be read; the service runs a newer "
                            "version");
}

/* ---- names ----------------------------------------------------------------------------------- */

static const char *name_of(char out[static NAME_TEXT_SIZE], uint32_t member, uint64_t config,
                           const struct constitution *known) {
    if (config == known->number && member < known->member_count) {
        (void)snprintf(out, NAME_TEXT_SIZE, "%s", known->members[member].name);
    } else {
        (void)snprintf(out, NAME_TEXT_SIZE, "#%u", member);
    }
    return out;
}

/* Members who have said neither; none when it is not known who they are. */
static uint64_t missing_of(const struct ballot_line *line, uint64_t config,
                           const struct constitution *known) {
    uint64_t const all =
        known->member_count == 64 ? UINT64_MAX : ((uint64_t)1 << known->member_count) - 1;
    return config == known->number ? all & ~(line->yes | line->no) : 0;
}

static void print_names(FILE *out, const char *title, uint64_t bitmap, uint64_t config,
                        const struct constitution *known) {
    char name[NAME_TEXT_SIZE];
    (void)fprintf(out, "  %s", title);
    for (uint32_t i = 0; i < MEMBERS_MAX; i++) {
        if ((bitmap >> i & 1) != 0) {
            (void)fprintf(out, " %s", name_of(name, i, config, known));
        }
    }
    (void)fputs(bitmap == 0 ? " -\n" : "\n", out);
}

void tally_print_line(FILE *out, const struct ballot_line *line, uint64_t config,
                      const struct constitution *known) {
    char name[NAME_TEXT_SIZE];
    uint32_t const yes = (uint32_t)__builtin_popcountll(line->yes);
    char id[2 * DIGEST_SIZE + 1];
    ballot_digest_write(id, &line->id);
    (void)fprintf(out, "open       %s\n  by      %s\n", id,
                  name_of(name, line->member, config, known));
    print_names(out, "yes    ", line->yes, config, known);
    print_names(out, "no     ", line->no, config, known);
    if (config == known->number) {
        uint32_t const needed = preview_votes_needed(known);
        print_names(out, "not yet", missing_of(line, config, known), config, known);
        if (yes < needed) {
            (void)fprintf(out, "  missing %u more yes (passes with %u of %u)\n", needed - yes,
                          needed, known->member_count);
        } else {
            (void)fprintf(out, "  PASSED  by %u of %u\n", yes, known->member_count);
        }
    }
}

void tally_print(FILE *out, const struct tally *tally, const struct constitution *known) {
    (void)fprintf(out, "in force   configuration %llu\n", (unsigned long long)tally->in_force);
    if (tally->newest > tally->in_force) {
        (void)fprintf(out, "under way  configuration %llu; nothing is voted on until then\n",
                      (unsigned long long)tally->newest);
    }
    for (uint32_t i = 0; i < tally->count; i++) {
        tally_print_line(out, &tally->lines[i], tally->in_force, known);
    }
    if (tally->count == 0) {
        (void)fputs("open       no proposal\n", out);
    }
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static json_t *names_json(uint64_t bitmap, uint64_t config, const struct constitution *known) {
    char name[NAME_TEXT_SIZE];
    json_t *const list = json_array();
    for (uint32_t i = 0; list != NULL && i < MEMBERS_MAX; i++) {
        if ((bitmap >> i & 1) != 0 &&
            json_array_append_new(list, json_string(name_of(name, i, config, known))) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

json_t *tally_line_json(const struct ballot_line *line, uint64_t config,
                        const struct constitution *known) {
    char name[NAME_TEXT_SIZE];
    bool const is_known = config == known->number;
    return json_pack(
        "{s:o,s:s,s:o,s:o,s:o,s:o}", "id", view_json_hex(span_of(line->id.bytes, DIGEST_SIZE)),
        "by", name_of(name, line->member, config, known), "yes",
        names_json(line->yes, config, known), "no", names_json(line->no, config, known), "not_yet",
        is_known ? names_json(missing_of(line, config, known), config, known) : json_null(),
        "needed", is_known ? json_integer((json_int_t)preview_votes_needed(known)) : json_null());
}

json_t *tally_json(const struct tally *tally, const struct constitution *known) {
    json_t *list = json_array();
    for (uint32_t i = 0; list != NULL && i < tally->count; i++) {
        if (json_array_append_new(list,
                                  tally_line_json(&tally->lines[i], tally->in_force, known)) != 0) {
            json_decref(list);
            list = NULL;
        }
    }
    return json_pack("{s:o,s:o,s:o}", "in_force", view_json_u64(tally->in_force), "newest",
                     view_json_u64(tally->newest), "open", list);
}
