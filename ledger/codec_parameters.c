/*
 * codec_parameters: see codec_parameters.h. The bounds are checked in one place, whether genesis
 * or a proposal sets them.
 */
#include "ledger/codec_parameters.h"

#include "ledger/field.h"

bool parameters_sound(const struct parameters *parameters) {
    enum codec_result result = CODEC_OK;
    field_check_range(&result, parameters->pipeline, (struct bounds){1, PIPELINE_MAX});
    field_check_range(
        &result, parameters->checkpoint_interval,
        (struct bounds){checkpoint_interval_min(parameters->pipeline), CHECKPOINT_INTERVAL_MAX});
    field_check_range(&result, parameters->window, (struct bounds){BATCH_CALLS_MAX, WINDOW_MAX});
    field_check_range(&result, parameters->batch_calls_max,
                      (struct bounds){CALLS_MAX, BATCH_CALLS_MAX});
    field_check_range(&result, parameters->batch_size_soft_max,
                      (struct bounds){1, BATCH_SIZE_SOFT_MAX});
    return result == CODEC_OK;
}

void parameters_take(enum codec_result *result, struct parameters *out,
                     const Onus__Pb__Parameters *in) {
    if (in == NULL) {
        field_fail(result, CODEC_LENGTH);
        return;
    }
    *out = (struct parameters){
        .pipeline = in->pipeline,
        .checkpoint_interval = in->checkpoint_interval,
        .window = in->window,
        .batch_calls_max = in->batch_calls_max,
        .batch_size_soft_max = in->batch_size_soft_max,
    };
}

void parameters_take_sound(enum codec_result *result, struct parameters *out,
                           const Onus__Pb__Parameters *in) {
    parameters_take(result, out, in);
    if (in != NULL && !parameters_sound(out)) {
        field_fail(result, CODEC_RANGE);
    }
}

Onus__Pb__Parameters parameters_message(const struct parameters *in) {
    Onus__Pb__Parameters message = ONUS__PB__PARAMETERS__INIT;
    message.pipeline = in->pipeline;
    message.checkpoint_interval = in->checkpoint_interval;
    message.window = in->window;
    message.batch_calls_max = in->batch_calls_max;
    message.batch_size_soft_max = in->batch_size_soft_max;
    return message;
}
