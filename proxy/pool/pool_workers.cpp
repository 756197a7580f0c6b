// One pool over several workers: who waits longest is served first, wherever it waits.
#include <fmt/format.h>

#include <algorithm>

#include "proxy/pool/pool.hpp"

namespace breakwater::pool {

using topology::EndpointRef;
using topology::Role;

void Pool::publish() {
    if (shared_->per_worker.size() < 2) return;
    shared_->per_worker[context_.worker].oldest.store(waiters_.empty() ? kNobodyWaits : waiters_.front()->ticket_);
}

bool Pool::hand_over(Upstream& upstream) {
    if (shared_->per_worker.size() < 2) return false;
    std::uint64_t oldest = waiters_.empty() ? kNobodyWaits : waiters_.front()->ticket_;
    std::size_t to = context_.worker;
    for (std::size_t w = 0; w < shared_->per_worker.size(); ++w) {
        const std::uint64_t ticket = shared_->per_worker[w].oldest.load();
        if (w != context_.worker && ticket < oldest) {
            oldest = ticket;
            to = w;
        }
    }
    if (to == context_.worker) return false;
    // Claimed: nobody else sends one for the same waiter. That worker publishes again when it has looked.
    if (!shared_->per_worker[to].oldest.compare_exchange_strong(oldest, kNobodyWaits)) return false;
    const auto found = all_.find(&upstream);
    auto parcel = std::make_shared<std::unique_ptr<Upstream>>(std::move(found->second));
    all_.erase(found);
    context_.reactor.remove(upstream.stream.fd(), upstream);
    upstream.pool = nullptr;
    context_.post(to, [shared = shared_, parcel, to] {
        Pool* pool = shared->per_worker[to].pool.load();
        if (!pool) {
            shared->total--;
            return;
        }
        pool->begged_ = false;
        pool->adopt(std::move(*parcel));
        pool->schedule_pump();
    });
    return true;
}

bool Pool::beg() {
    if (shared_->per_worker.size() < 2 || begged_) return begged_;
    for (std::size_t w = 0; w < shared_->per_worker.size(); ++w) {
        if (w == context_.worker || shared_->per_worker[w].idle.load() == 0) continue;
        begged_ = true;
        context_.post(w, [shared = shared_, w, from = context_.worker, post = context_.post] {
            Pool* pool = shared->per_worker[w].pool.load();
            if (pool) pool->give(from);
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

void Pool::give(std::size_t to) {
    if (!waiters_.empty() || shared_->per_worker[to].oldest.load() == kNobodyWaits) return;
    Upstream* upstream = take_idle(nullptr);
    if (!upstream) return;
    put_idle(*upstream);
}

}  // namespace breakwater::pool
