-- Who leads is what the shard says: it names nobody from the moment in which a leader
-- has handed over, while the heartbeat still has the name of the last one.
-- +goose Up
create or replace view facts.heartbeats as
  select h.shard, s.leader, h.epoch, h.beat, s.last_account, s.last_payment, s.last_transfer, s.last_transition
    from public.heartbeats h join public.shards s on s.id = h.shard;

-- +goose Down
create or replace view facts.heartbeats as
  select h.shard, h.leader, h.epoch, h.beat, s.last_account, s.last_payment, s.last_transfer, s.last_transition
    from public.heartbeats h join public.shards s on s.id = h.shard;
