// What comes back: clean, dirty, broken, or with a cancel on its way; and what lies idle.
#include <fmt/format.h>

#include <algorithm>

#include "proxy/pool/pool.hpp"

namespace breakwater::pool {

using topology::EndpointRef;
using topology::Role;

void Pool::release(Upstream& upstream, Left left, Outcome outcome, const std::string& why) {
    upstream.holder = nullptr;
    upstream.endpoint->active--;
    const TimePoint now = context_.reactor.now();
    if (upstream.probation) {
        upstream.probation = false;
        if (outcome == Outcome::ok) {
            release_.on_served(now);
        } else if (outcome == Outcome::endpoint_fault) {
            release_.on_failed();
            if (pick_endpoint()) release_.start(now);
        } else {
            release_.on_gone();
        }
        schedule_pump();
    }
    if (outcome == Outcome::endpoint_fault) {
        upstream.endpoint->on_lost(now, why, upstream.begun, upstream.born);
    }
    if (left == Left::broken || settings_->one_to_one || upstream.hung_up || upstream.doomed) {
        if (upstream.cancels > 0) {
            upstream.parked = true;
            upstream.parked_left = Left::broken;
            return;
        }
        destroy(upstream);
        return schedule_pump();
    }
    if (upstream.cancels > 0) {  // a cancel is on its way to it: the next client must not be hit
        upstream.parked = true;
        upstream.parked_left = left;
        return;
    }
    if (left == Left::dirty) return reset(upstream);
    put_idle(upstream);
}

void Pool::served(Upstream& upstream) {
    if (!upstream.probation) return;
    upstream.probation = false;
    release_.on_served(context_.reactor.now());
    schedule_pump();
}

void Pool::lost(Upstream& upstream, const std::string& why) {
    const EndpointRef endpoint = upstream.endpoint;
    release(upstream, Left::broken, Outcome::endpoint_fault, why);
    endpoint->suspect();
}

void Pool::reset(Upstream& upstream) {
    const auto found = all_.find(&upstream);
    auto owned = std::move(found->second);
    all_.erase(found);
    context_.reactor.remove(upstream.stream.fd(), upstream);
    const auto attempt = errands_.insert(errands_.end(), Attempt{});
    attempt->endpoint = upstream.endpoint;
    attempt->upstream = std::move(owned);
    ErrandPtr errand = context_.protocol->reset(*upstream.state);
    const Duration limit = upstream.endpoint->settings().connect_timeout;
    attempt->dial = std::make_unique<net::Dial>(context_.reactor, context_.resolver, std::move(upstream.stream),
                                                std::move(errand), limit, [this, attempt](net::Dial::Result result) {
                                                    std::shared_ptr<net::Dial> over = std::move(attempt->dial);
                                                    context_.reactor.defer([over] {});
                                                    std::unique_ptr<Upstream> back = std::move(attempt->upstream);
                                                    errands_.erase(attempt);
                                                    if (result.fault) {
                                                        give_up_place();
                                                        return schedule_pump();
                                                    }
                                                    back->stream = std::move(result.stream);
                                                    back->in = std::move(result.rest);
                                                    adopt(std::move(back));
                                                });
    attempt->dial->start();
}

void Pool::destroy(Upstream& upstream) {
    const auto found = all_.find(&upstream);
    if (found == all_.end()) return;
    const auto idle = std::find(idle_.begin(), idle_.end(), &upstream);
    if (idle != idle_.end()) {
        idle_.erase(idle);
        shared_->per_worker[context_.worker].idle--;
        upstream.endpoint->idle--;
    }
    context_.reactor.remove(upstream.stream.fd(), upstream);
    if (!upstream.hung_up && upstream.out.empty()) upstream.stream.write(upstream.state->goodbye());
    std::shared_ptr<Upstream> owned = std::move(found->second);
    all_.erase(found);
    owned->stream.close();
    give_up_place();
    context_.reactor.defer([owned] {});  // its own event may be on the stack
}

void Pool::cancel(Upstream& upstream, std::function<void()> done) {
    ++upstream.cancels;
    const auto attempt = errands_.insert(errands_.end(), Attempt{});
    const topology::EndpointSettings settings = upstream.endpoint->settings();
    attempt->endpoint = upstream.endpoint;
    Upstream* target = &upstream;
    attempt->dial = std::make_unique<net::Dial>(
        context_.reactor, context_.resolver, settings.target, context_.protocol->cancel(*upstream.state),
        settings.connect_timeout, [this, attempt, target, done = std::move(done)](net::Dial::Result result) {
            std::shared_ptr<net::Dial> over = std::move(attempt->dial);
            context_.reactor.defer([over] {});
            errands_.erase(attempt);
            // An upstream with a cancel on its way is neither moved nor destroyed, so the pointer holds.
            if (result.fault) target->doomed = true;
            if (--target->cancels == 0 && target->parked) {
                target->parked = false;
                target->endpoint->active++;  // release counts it down again
                release(*target, target->parked_left, Outcome::ok);
            }
            if (done) done();
        });
    attempt->dial->start();
}

// ---------------------------------------------------------------------------------------------------- idling

void Pool::on_idle_events(Upstream& upstream, std::uint32_t events) {
    if (!(events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))) return;
    char buffer[4096];
    for (;;) {
        const net::Io io = upstream.stream.read(buffer, sizeof buffer);
        if (io.status == net::Io::Status::again) return;
        const bool fine = io.status == net::Io::Status::ok && !upstream.parked &&
                          upstream.state->on_idle_bytes(ByteView(buffer, io.bytes));
        if (!fine) {
            upstream.hung_up = true;
            if (upstream.parked) {
                upstream.parked_left = Left::broken;  // its cancel is still on the way
                return;
            }
            const EndpointRef endpoint = upstream.endpoint;
            destroy(upstream);
            endpoint->suspect();
            return;
        }
        if (io.drained && !(events & (EPOLLRDHUP | EPOLLHUP))) return;
    }
}

void Pool::housekeep() {
    const TimePoint now = context_.reactor.now();
    std::vector<Upstream*> old;
    std::size_t keep = context_.worker == 0 ? settings_->min_idle : 0;
    for (auto it = idle_.rbegin(); it != idle_.rend(); ++it) {  // the last used come first
        Upstream* upstream = *it;
        if (worn_out(*upstream)) {
            old.push_back(upstream);
        } else if (keep > 0) {
            --keep;
        } else if (settings_->idle_timeout.count() > 0 && now - upstream->idle_since > settings_->idle_timeout) {
            old.push_back(upstream);
        }
    }
    for (Upstream* upstream : old) destroy(*upstream);
    if (lane_ && lane_->empty() && keep == 0 && settings_->idle_timeout.count() > 0 &&
        now - lane_->empty_since() > settings_->idle_timeout)
        retire_lane();
    usable_lane();  // or its end, if it is worn out
    if (settings_->readers) end_useless_readers();
    const EndpointRef endpoint = pick_endpoint();
    TimePoint when{};
    if (context_.worker == 0 && endpoint && !settings_->one_to_one && dials_.empty() && !context_.draining &&
        shared_->total.load() < settings_->min_idle && endpoint->may_connect(now, &when) &&
        take_place(std::min(settings_->min_idle, settings_->max_size))) {
        dial(endpoint);
    }
    if (held_here_ > 0) look_for_primary();
    if (!waiters_.empty()) schedule_pump();
}

void Pool::close_idle() {
    const std::vector<Upstream*> all = idle_;
    for (Upstream* upstream : all) destroy(*upstream);
    retire_lane();
}

void Pool::change(SettingsRef settings, IdentityRef renewed) {
    const bool new_epoch = settings->epoch != settings_->epoch;
    // They look for their place anew once it is known here.
    spread_anew_ = spread_anew_ || (settings->layout != settings_->layout && held_here_ > 0);
    settings_ = std::move(settings);
    if (renewed) identity_ = std::move(renewed);
    if (new_epoch) close_idle();
    // A server that belongs to another shard now has other data.
    const auto& endpoints = settings_->endpoints;
    for (const auto& [upstream, owned] : all_)
        if (std::find(endpoints.begin(), endpoints.end(), upstream->endpoint) == endpoints.end())
            upstream->doomed = true;
    if (lane_ && lane_->upstream().doomed) retire_lane();
    while (!idle_.empty() && shared_->total.load() > settings_->max_size) destroy(*idle_.front());
    deadline_.cancel();  // the time-outs may be others now
    schedule_pump();
}

}  // namespace breakwater::pool
