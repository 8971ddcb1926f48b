/*
 * onus gov vote, withdraw, list, show: what becomes of a proposal. Who votes is shown first what it
 * is about, worked out here and not by any replica; and a yes to what breaks a rule, or is about a
 * constitution that is not known here, is not signed.
 */
#include "client/gov.h"

enum { OPTION_KEY = OPTION_FIRST_OWN, OPTION_YES, OPTION_DRY_RUN };

static const struct option vote_options[] = {{"key", required_argument, NULL, OPTION_KEY},
                                             {"yes", no_argument, NULL, OPTION_YES},
                                             {"dry-run", no_argument, NULL, OPTION_DRY_RUN},
                                             GLOBAL_OPTIONS};
static const struct option key_options[] = {{"key", required_argument, NULL, OPTION_KEY},
                                            GLOBAL_OPTIONS};

/* Returns: 0, or the option that ends the command. */
static int take_options(const struct command *command, struct globals *globals, int argc,
                        char **argv, const struct option *options, struct gov *gov) {
    for (;;) {
        int const option = command_option(command, globals, argc, argv, options);
        if (COMMAND_ENDS(option)) {
            return option;
        }
        switch (option) {
        case -1:
            return 0;
        case OPTION_KEY:
            gov->client.key_path = optarg;
            break;
        case OPTION_YES:
            gov->assumed = true;
            break;
        default:
            gov->dry_run = true;
            break;
        }
    }
}

static int print_json(struct gov *gov, json_t *json) {
    return view_print_json(json) ? 0 : problem_set(&gov->problem, EXIT_ERROR, "out of memory");
}

/* A proposal and how its votes stand. */
static int print_proposal(struct gov *gov, const struct ballot_line *line, FILE *out) {
    uint64_t const config = gov->preview.proposal.config;
    if (gov->globals->json && out == stdout) {
        return print_json(gov,
                          json_pack("{s:o,s:o}", "votes", tally_line_json(line, config, &gov->now),
                                    "preview", preview_json(&gov->preview)));
    }
    if (!gov->globals->json) {
        preview_print(out, &gov->preview);
        tally_print_line(out, line, config, &gov->now);
    }
    return 0;
}

/* ---- vote ------------------------------------------------------------------------------------ */

/* The service says that it passed: it must have come to the constitution that was shown. */
static int check_passed(struct gov *gov) {
    const struct outcome *const outcome = &gov->answer.outcome;
    struct digest mine;
    struct digest theirs;
    if (outcome->reply_count != 3 || !span_equal(outcome->reply[0], span_text("passed")) ||
        gov->preview.verdict.rule != PROPOSAL_SOUND) {
        return 0;
    }
    if (!constitution_digest(&mine, &gov->preview.next)) {
        return problem_set(&gov->problem, EXIT_ERROR, "out of memory");
    }
    return ballot_digest_read(&theirs, outcome->reply[2]) && digest_equal(&mine, &theirs)
               ? 0
               : problem_set(&gov->problem, EXIT_INVALID,
                             "it passed, and the service came to another constitution than was "
                             "shown here; the receipt proves it: keep it, and have it audited");
}

static int print_vote(struct gov *gov, const char *id) {
    const struct outcome *const outcome = &gov->answer.outcome;
    if (gov->globals->json) {
        json_t *const json = json_pack("{s:s,s:o}", "proposal", id, "reply",
                                       view_json_items(outcome->reply, outcome->reply_count));
        if (json == NULL || !gov_json_transaction(gov, json)) {
            json_decref(json);
            return problem_set(&gov->problem, EXIT_ERROR, "out of memory");
        }
        return print_json(gov, json);
    }
    gov_print_transaction(gov);
    view_print_items(stdout, outcome->reply, outcome->reply_count);
    (void)putchar('\n');
    if (outcome->reply_count == 3 && span_equal(outcome->reply[0], span_text("open"))) {
        command_say(gov->globals, "onus: votes for and against so far; it passes with %u",
                    preview_votes_needed(&gov->now));
    }
    return 0;
}

static int vote(struct gov *gov, const char *id, const char *choice) {
    struct ballot_line line;
    bool const is_yes = strcmp(choice, "yes") == 0;
    if (gov_open(gov) != 0 || gov_check_member(gov) != 0 || gov_fetch(gov, id, &line) != 0 ||
        print_proposal(gov, &line, gov->dry_run ? stdout : stderr) != 0) {
        return -1;
    }
    if (is_yes && preview_check(&gov->preview, &gov->problem) != 0) {
        return -1;
    }
    if (gov->dry_run) {
        return 0;
    }
    struct span const arguments[2] = {span_text(id), span_text(choice)};
    if (gov_confirm(gov, is_yes ? "Sign a yes to this?" : "Sign a no to this?") != 0 ||
        gov_call(gov, "gov.vote", 2, arguments) != 0 || print_vote(gov, id) != 0) {
        return -1;
    }
    return check_passed(gov);
}

int command_gov_vote(const struct command *command, struct globals *globals, int argc,
                     char **argv) {
    struct gov *const gov = gov_new(globals);
    if (gov == NULL) {
        return EXIT_ERROR;
    }
    int const option = take_options(command, globals, argc, argv, vote_options, gov);
    if (option != 0) {
        return gov_end(gov, COMMAND_CODE(option));
    }
    if (optind + 2 != argc ||
        (strcmp(argv[optind + 1], "yes") != 0 && strcmp(argv[optind + 1], "no") != 0)) {
        return gov_end(gov, command_misused(command, "give the id of a proposal, and yes or no"));
    }
    return gov_end(gov, vote(gov, argv[optind], argv[optind + 1]) == 0 ? EXIT_OK : EXIT_ERROR);
}

/* ---- withdraw -------------------------------------------------------------------------------- */

static int withdraw(struct gov *gov, const char *id) {
    struct span const argument = span_text(id);
    return gov_open(gov) == 0 && gov_check_member(gov) == 0 &&
                   gov_call(gov, "gov.withdraw", 1, &argument) == 0
               ? print_vote(gov, id)
               : -1;
}

int command_gov_withdraw(const struct command *command, struct globals *globals, int argc,
                         char **argv) {
    struct gov *const gov = gov_new(globals);
    if (gov == NULL) {
        return EXIT_ERROR;
    }
    int const option = take_options(command, globals, argc, argv, key_options, gov);
    if (option != 0) {
        return gov_end(gov, COMMAND_CODE(option));
    }
    if (optind + 1 != argc) {
        return gov_end(gov, command_misused(command, "give the id of your proposal"));
    }
    return gov_end(gov, withdraw(gov, argv[optind]) == 0 ? EXIT_OK : EXIT_ERROR);
}

/* ---- list, show ------------------------------------------------------------------------------ */

static int list(struct gov *gov) {
    struct tally tally;
    if (gov_open(gov) != 0 || gov_call(gov, "gov.open", 0, NULL) != 0 ||
        tally_take(&tally, &gov->answer.outcome, &gov->problem) != 0) {
        return -1;
    }
    if (tally.in_force != gov->now.number) {
        command_say(gov->globals,
                    "onus: the context knows configuration %llu; members are shown as numbers",
                    (unsigned long long)gov->now.number);
    }
    if (gov->globals->json) {
        return print_json(gov, tally_json(&tally, &gov->now));
    }
    tally_print(stdout, &tally, &gov->now);
    return 0;
}

int command_gov_list(const struct command *command, struct globals *globals, int argc,
                     char **argv) {
    struct gov *const gov = gov_new(globals);
    if (gov == NULL) {
        return EXIT_ERROR;
    }
    int const option = take_options(command, globals, argc, argv, key_options, gov);
    if (option != 0) {
        return gov_end(gov, COMMAND_CODE(option));
    }
    if (optind != argc) {
        return gov_end(gov, command_misused(command, "it takes options only"));
    }
    return gov_end(gov, list(gov) == 0 ? EXIT_OK : EXIT_ERROR);
}

static int show(struct gov *gov, const char *id) {
    struct ballot_line line;
    if (id != NULL) {
        return gov_open(gov) == 0 && gov_fetch(gov, id, &line) == 0
                   ? print_proposal(gov, &line, stdout)
                   : -1;
    }
    if (gov_load(gov) != 0) {
        return -1;
    }
    if (gov->globals->json) {
        return print_json(gov, preview_constitution_json(&gov->now));
    }
    preview_print_constitution(stdout, &gov->now);
    return 0;
}

int command_gov_show(const struct command *command, struct globals *globals, int argc,
                     char **argv) {
    struct gov *const gov = gov_new(globals);
    if (gov == NULL) {
        return EXIT_ERROR;
    }
    int const option = take_options(command, globals, argc, argv, key_options, gov);
    if (option != 0) {
        return gov_end(gov, COMMAND_CODE(option));
    }
    if (optind + 1 < argc) {
        return gov_end(gov, command_misused(command, "give one id, or none"));
    }
    return gov_end(gov, show(gov, optind < argc ? argv[optind] : NULL) == 0 ? EXIT_OK : EXIT_ERROR);
}
