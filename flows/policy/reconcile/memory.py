"""What is remembered of the work pools that pool-reconcile has created, so that it prunes those and no others."""

from flows.policy.reconcile.facts import Created, ReconcileFacts


def to_remember(facts: ReconcileFacts, *, dry_run: bool) -> tuple[Created, ...]:
    """What is to be written down anew of the work pools in the spec: that it is in this spec now, and protected or not.

    A plan alone only adds to what is protected: it may be one of a spec that somebody tries out.
    """
    found = []
    for pool in facts.spec.pools:
        there = facts.pools.get(pool.name)
        known = facts.created.get(there.id) if there else None
        if known is None:
            continue
        if dry_run:
            protected = known.protected or (pool.protected and known.spec == facts.path)
            wanted = known.model_copy(update={"protected": protected})
        else:
            wanted = known.model_copy(update={"protected": pool.protected, "spec": facts.path})
        if wanted != known:
            found.append(wanted)
    return tuple(found)


def to_forget(facts: ReconcileFacts) -> tuple[Created, ...]:
    """Those whose work pools are gone."""
    there = {pool.id for pool in facts.pools.values()}
    return tuple(created for id_, created in sorted(facts.created.items()) if id_ not in there)
