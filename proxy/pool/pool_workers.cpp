// One pool over several workers: who waits longest is served first, wherever it waits.
#include <fmt/format.h>

#include <algorithm>

#include "proxy/pool/pool.hpp"

namespace breakwater::pool {

using topology::EndpointRef;
using topology::Role;

std::uint64_t Pool::oldest_ticket() const { return waiters_.empty() ? kNobodyWaits : waiters_.front()->ticket_; }

void Pool::publish() {
    if (shared_->per_worker.size() < 2) return;
    shared_->per_worker[context_.worker].oldest.store(oldest_ticket());
}

// Another worker whose longest waiter came before `ticket`: the one that came first of all.
std::optional<std::size_t> Pool::older_elsewhere(const PoolShared& shared, std::size_t worker, std::uint64_t ticket) {
    std::optional<std::size_t> found;
    for (std::size_t w = 0; w < shared.per_worker.size(); ++w) {
        const std::uint64_t other = shared.per_worker[w].oldest.load();
        if (w == worker || other >= ticket) continue;
        ticket = other;
        found = w;
    }
    return found;
}

// Whoever has waited longest may connect in its stead; on another worker nobody else would tell it.
void Pool::give_up_place(PoolShared& shared, std::size_t worker, const Post& post, std::uint64_t before) {
    shared.total--;
    if (const auto to = older_elsewhere(shared, worker, before)) {
        post(*to, [alive = shared.shared_from_this(), to = *to] {
            if (Pool* pool = alive->per_worker[to].pool.load()) pool->schedule_pump();
        });
    }
}

bool Pool::hand_over(Upstream& upstream) {
    if (shared_->per_worker.size() < 2 || !serves(*upstream.endpoint)) return false;
    const auto older = older_elsewhere(*shared_, context_.worker, oldest_ticket());
    if (!older) return false;
    const std::size_t to = *older;
    // Claimed: nobody else sends one for the same waiter. That worker publishes again when it has looked.
    std::uint64_t ticket = shared_->per_worker[to].oldest.load();
    if (ticket >= oldest_ticket() || !shared_->per_worker[to].oldest.compare_exchange_strong(ticket, kNobodyWaits))
        return false;
    const auto found = all_.find(&upstream);
    auto parcel = std::make_shared<std::unique_ptr<Upstream>>(std::move(found->second));
    all_.erase(found);
    context_.reactor.remove(upstream.stream.fd(), upstream);
    upstream.pool = nullptr;
    context_.post(to, [shared = shared_, parcel, to, post = context_.post] {
        Pool* pool = shared->per_worker[to].pool.load();
        if (!pool) return give_up_place(*shared, to, post, kNobodyWaits);
        pool->begged_ = false;
        pool->adopt(std::move(*parcel));
        pool->schedule_pump();
    });
    return true;
}

bool Pool::beg() {
    const std::size_t workers = shared_->per_worker.size();
    if (workers < 2 || begged_) return begged_;
    for (std::size_t i = 1; i <= workers; ++i) {
        const std::size_t w = (last_begged_of_ + i) % workers;
        if (w == context_.worker || shared_->per_worker[w].idle.load() == 0) continue;
        begged_ = true;
        last_begged_of_ = w;
        const std::size_t wanted = std::min<std::uint64_t>(this->wanted(), allowance());
        context_.post(w, [shared = shared_, w, from = context_.worker, wanted, post = context_.post] {
            Pool* pool = shared->per_worker[w].pool.load();
            if (pool) pool->give(from, wanted);
            post(from, [shared, from] {  // whether or not one came: the beggar looks again, and may dial
                Pool* asker = shared->per_worker[from].pool.load();
                if (!asker) return;
                asker->begged_ = false;
                if (!asker->waiters_.empty()) asker->grow();
            });
        });
        return true;
    }
    return false;
}

void Pool::give(std::size_t to, std::size_t wanted) {
    if (shared_->per_worker[to].oldest.load() == kNobodyWaits || !pick_endpoint()) return;
    if (waiters_.empty())
        if (Upstream* upstream = take_idle(nullptr)) return put_idle(*upstream);
    // Those who wait here, if any, lose nothing: a place goes to whoever waits longest.
    const std::uint32_t total = shared_->total.load();
    std::size_t room = total < settings_->max_size ? settings_->max_size - total : 0;
    while (room < wanted && give_up_useless()) ++room;
}

}  // namespace breakwater::pool
