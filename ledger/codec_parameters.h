/*
 * codec_parameters: the parameters of a service, which stand in genesis, in constitutions and in
 * proposals: the same message each time. For the codecs alone.
 */
#ifndef ONUS_LEDGER_CODEC_PARAMETERS_H
#define ONUS_LEDGER_CODEC_PARAMETERS_H

#include "ledger/codec.h"
#include "ledger/onus.pb-c.h"

/* Take over what a message says, whatever it is; CODEC_LENGTH when there is none. */
void parameters_take(enum codec_result *result, struct parameters *out,
                     const Onus__Pb__Parameters *in);
/* The same, and CODEC_RANGE unless a service can run with them. */
void parameters_take_sound(enum codec_result *result, struct parameters *out,
                           const Onus__Pb__Parameters *in);
Onus__Pb__Parameters parameters_message(const struct parameters *in);

#endif
