/*
 * net: all that was said in a state, by correct replicas and by the liar (liar.c). Nothing ever
 * leaves the network: what was not delivered is lost, what is delivered twice was duplicated.
 */
#include "base/check.h"
#include "tests/small_world/small_world.h"

static void note(const struct message *message, struct net *net) {
    if (message->kind == MESSAGE_VIEW_CHANGE) {
        net->asked[message->view] |= (uint8_t)(1u << message->author);
    } else if (message->kind == MESSAGE_NEW_VIEW) {
        net->has_new_view[message->view] = true;
    } else if (message->kind == MESSAGE_PREPARE) {
        net->voted[message->view][message->seq] = true;
    }
}

void net_gather(struct world *world, const uint32_t locals[WORLD_REPLICAS], struct net *net) {
    *net = (struct net){.count = 0};
    for (uint32_t r = 0; r < WORLD_REPLICAS; r++) {
        if (is_liar(world, r)) {
            continue;
        }
        uint32_t count = 0;
        const uint32_t *const sent =
            store_list(&world->store, local_at(world, locals[r])->sent, &count);
        for (uint32_t i = 0; i < count; i++) {
            const struct message *const message = message_at(world, sent[i]);
            CHECK(net->count < WORLD_NET_MAX);
            CHECK(message->view <= WORLD_VIEWS && message->seq < WORLD_BATCHES);
            net->items[net->count++] = sent[i];
            note(message, net);
        }
    }
    if (world->options.has_liar) {
        liar_gather(world, net);
    }
}
