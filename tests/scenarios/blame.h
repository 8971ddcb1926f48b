/*
 * blame: words that the stories about blame share: how an audit must end, and what its report must
 * say to somebody who was not there.
 */
#ifndef ONUS_TESTS_SCENARIOS_BLAME_H
#define ONUS_TESTS_SCENARIOS_BLAME_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit-tool/account.h"
#include "tests/sim/auditing.h"

static const char *const bank_names[] = {"bank-a", "bank-b", "bank-c", "bank-d"};

/* The words, wherever the report breaks its lines. */
static inline bool report_says(const char *report, const char *words) {
    const char *at = report;
    for (; *at != '\0'; at++) {
        const char *said = at;
        const char *word = words;
        while (*word != '\0') {
            size_t const gap = strspn(said, " \n");
            bool const is_gap = *word == ' ' && gap != 0;
            if (!is_gap && *said != *word) {
                break;
            }
            said += is_gap ? gap : 1;
            word++;
        }
        if (*word == '\0') {
            return true;
        }
    }
    return false;
}

/* Who is named, and how anybody can check it: the same in every report. */
static inline void expect_names(const char *report, uint64_t blamed, const struct digest *service) {
    char line[256];
    char id[2 * DIGEST_SIZE + 1];
    for (uint32_t i = 0; i < 4; i++) {
        (void)snprintf(line, sizeof line, "%s, for replica %u\n", bank_names[i], i);
        cr_assert_eq(strstr(report, line) != NULL, (blamed >> i & 1) != 0, "%s%s", line, report);
    }
    hex_encode(id, span_of(service->bytes, DIGEST_SIZE));
    (void)snprintf(line, sizeof line, "onus-audit verify --service %s evidence.onus", id);
    cr_assert(report_says(report, line), "%s", report);
    cr_assert(report_says(report, "why this is not honest"));
}

/* A verified proof told in full, as `onus-audit report` prints it. Returns: to be freed. */
static inline char *report_text(const struct proof_verdict *verdict, struct span file) {
    char *text = NULL;
    size_t size = 0;
    FILE *const out = open_memstream(&text, &size);
    json_t *const account = account_make(verdict, file, "evidence.onus");
    cr_assert(out != NULL && account != NULL);
    account_write_text(out, account);
    cr_assert_eq(fclose(out), 0);
    json_decref(account);
    return text;
}

/* The file convicts these by itself, and its report has all of these sentences; the last is NULL.
 */
static inline void expect_proof(const struct cluster *c, struct span file, enum proof_kind kind,
                                uint64_t blamed, const char *const *sentences) {
    const struct digest *const service = &c->configuration->service;
    struct proof_verdict *const verdict = calloc(1, sizeof *verdict);
    cr_assert(verdict != NULL);
    cr_assert_eq(proof_verify(verdict, service, file), PROOF_VALID);
    cr_assert_eq(verdict->kind, kind);
    cr_assert_eq(verdict->blamed, blamed, "%llx, not %llx", (unsigned long long)verdict->blamed,
                 (unsigned long long)blamed);
    char *const report = report_text(verdict, file);
    expect_names(report, blamed, service);
    for (; *sentences != NULL; sentences++) {
        cr_assert(report_says(report, *sentences), "\"%s\" is not in\n%s", *sentences, report);
    }
    free(report);
    free(verdict);
}

/* The audit ends in this one proof, against these and nobody else. */
static inline void expect_blame(struct auditing *a, enum proof_kind kind, uint64_t blamed,
                                const char *const *sentences) {
    const struct audit_report *const report = auditing_run(a);
    cr_assert_eq(audit_exit_code(report), EXIT_MISBEHAVIOUR, "%s",
                 report->notice_count == 0 ? "" : report->notices[0].text);
    cr_assert_eq(report->finding_count, 1);
    expect_proof(a->cluster, buffer_span(&report->findings[0].file), kind, blamed, sentences);
    auditing_close(a);
}

/* Nobody is blamed, whatever else is said. */
static inline void expect_no_blame(struct auditing *a, enum exit_code code) {
    const struct audit_report *const report = auditing_run(a);
    cr_assert_eq(audit_exit_code(report), code, "%d: %s", audit_exit_code(report),
                 report->notice_count == 0 ? "" : report->notices[0].text);
    cr_assert_eq(report->finding_count, 0);
    auditing_close(a);
}

#define SENTENCES(...) ((const char *const[]){__VA_ARGS__, NULL})

#endif
