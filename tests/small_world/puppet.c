void puppet_gather(struct world *world, struct net *net);
