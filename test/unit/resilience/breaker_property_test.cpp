// The breaker beside a model that keeps everything (each outcome with its time, each permit ever granted) and computes
// naively. Random calls in random order; after each, all that can be seen of the two must be the same.
#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "proxy/resilience/breaker.hpp"
#include "test/unit/resilience/support.hpp"

namespace breakwater::resilience {
namespace {

struct Model {
    struct Outcome {
        std::int64_t bucket;
        bool failed, slow;
    };
    struct Granted {
        Epoch epoch;
        TimePoint expires;
        bool owed = true;
    };
    BreakerSettings set;
    State state = State::closed;
    Epoch epoch = 1;
    std::vector<Outcome> seen;
    std::uint32_t consecutive = 0, passed = 0;
    std::uint64_t attempts = 0, opened = 0, closed = 0, half_opened = 0;
    std::size_t step = 0, polls = 0;
    std::optional<TimePoint> healthy_since;
    TimePoint due{}, since{};
    bool forced = false;
    bool misconfigured = false;
    std::map<std::uint64_t, Granted> permits;

    std::int64_t bucket(TimePoint now) const { return now.time_since_epoch() / (set.window / 10); }
    struct Sum {
        double all = 0, failed = 0, slow = 0;
    };
    Sum window(TimePoint now) const {
        Sum sum;
        for (const Outcome& o : seen) {
            if (bucket(now) - o.bucket >= 10) continue;
            ++sum.all;
            sum.failed += o.failed;
            sum.slow += o.slow;
        }
        return sum;
    }
    void enter(State to, TimePoint now) {
        if (state == State::closed) {
            if (healthy_since && now - *healthy_since >= set.backoff.stable_for) step = 0;
            healthy_since.reset();
            attempts = 0;
        }
        state = to;
        since = now;
        ++epoch;
        ++(to == State::open ? opened : to == State::closed ? closed : half_opened);
    }
    void fall(TimePoint now, Fault fault) {
        enter(State::open, now);
        static const std::vector<Duration> ladder{2s, 4s, 8s, 16s, 32s}, poll{250ms, 500ms, 1s};
        if (fault == Fault::starting) {
            due = now + poll[std::min(polls++, poll.size() - 1)];
        } else {
            polls = 0;
            due = now + ladder[std::min(step++, ladder.size() - 1)];
        }
    }
    void success(TimePoint now, int n, int slow) {
        if (state != State::closed) return;
        consecutive = 0;
        for (int i = 0; i < n; ++i) seen.push_back({bucket(now), false, i < slow});
        const Sum sum = window(now);
        if (slow > 0 && sum.all >= set.min_requests && sum.slow >= set.slow_call.rate * sum.all - 1e-6) {
            fall(now, Fault::network);
        }
    }
    void failure(TimePoint now) {
        if (state != State::closed) return;
        ++consecutive;
        seen.push_back({bucket(now), true, false});
        const Sum sum = window(now);
        if (consecutive >= set.consecutive_failures ||
            (sum.all >= set.min_requests && sum.failed >= set.failure_rate * sum.all - 1e-6)) {
            fall(now, Fault::network);
        }
    }
    void connect_failed(TimePoint now, Fault fault) {
        if (state != State::closed) return;
        misconfigured = fault == Fault::misconfigured;
        if (misconfigured) return;
        ++consecutive;
        seen.push_back({bucket(now), true, false});
        fall(now, fault);
    }
    bool may_probe(TimePoint now) const {
        if (state == State::open) return now >= due;
        if (state == State::closed) return false;
        std::size_t out = 0;
        for (const auto& [id, p] : permits) out += p.epoch == epoch && p.owed && now < p.expires;
        return out < (passed == 0 ? 1 : set.half_open_permits - passed);
    }
    void probe(TimePoint now, std::uint64_t id) {
        if (state == State::open) {
            enter(State::half_open, now);
            forced = false;
            passed = 0;
        }
        permits[id] = {epoch, now + set.permit_for};
        ++attempts;
    }
    bool redeem(std::uint64_t id) {
        Granted& p = permits.at(id);
        return state == State::half_open && p.epoch == epoch && std::exchange(p.owed, false);
    }
    void probed(TimePoint now, std::uint64_t id, bool ok, Fault fault) {
        if (!redeem(id)) return;
        misconfigured = !ok && fault == Fault::misconfigured;
        if (ok || misconfigured) {
            if (++passed < set.half_open_permits) return;
            seen.clear();
            consecutive = 0;
            polls = 0;
            enter(State::closed, now);
            healthy_since = now;
            return;
        }
        ++consecutive;
        seen.push_back({bucket(now), true, false});
        fall(now, fault);
    }
    void trip(TimePoint now, Duration how_long) {
        if (state != State::open) enter(State::open, now);
        forced = true;
        due = now + how_long;
    }
    void reset(TimePoint now) {
        seen.clear();
        consecutive = 0;
        if (state != State::open) return;
        forced = false;
        due = now;
    }
    void wake(TimePoint now) {
        if (state == State::open && !forced) due = std::min(due, now);
    }
};

void play(std::uint64_t seed) {
    Dice dice(seed);
    BreakerSettings settings;
    settings.backoff.jitter = Jitter::none;
    settings.slow_call.over = 1s;
    settings.min_requests = 1 + static_cast<std::uint32_t>(dice.below(25));
    settings.consecutive_failures = 1 + static_cast<std::uint32_t>(dice.below(8));
    settings.half_open_permits = 1 + static_cast<std::uint32_t>(dice.below(4));
    settings.window = Duration(1s) * (1 + dice.below(12));
    Breaker breaker(settings, seed, start);
    Model model;
    model.set = settings;
    model.since = start;
    std::vector<Permit> permits;
    TimePoint now = start;
    const auto some_fault = [&] { return static_cast<Fault>(dice.below(4)); };

    for (int i = 0; i < 600; ++i) {
        std::optional<Transition> told;
        const State before = model.state;
        const auto op = dice.below(15);
        switch (op) {
            case 0:
                now += Duration(1ms) * dice.below(500);
                break;
            case 1:
                now += Duration(1ms) * dice.below(5000);
                break;
            case 2:
                if (dice.one_in(4)) now += Duration(1s) * dice.below(40);
                break;
            case 3:
                if (const auto next = breaker.next_attempt_at()) now = std::max(now, *next);
                break;
            case 4:
            case 5: {
                const auto n = static_cast<std::uint32_t>(1 + dice.below(4));
                const auto slow = dice.one_in(3) ? static_cast<std::uint32_t>(dice.below(n + 1)) : 0;
                told = breaker.on_success(now, n, slow);
                model.success(now, static_cast<int>(n), static_cast<int>(slow));
                break;
            }
            case 6:
            case 7: {
                // Now and then with the epoch of before, which must be as if never said.
                const bool stale = dice.one_in(3);
                told = breaker.on_failure(now, "f", stale ? breaker.epoch() - 1 : breaker.epoch());
                if (!stale) model.failure(now);
                break;
            }
            case 8:
                if (const Fault fault = some_fault(); dice.one_in(3)) {
                    told = breaker.on_connect_failed(now, "c", fault);
                    model.connect_failed(now, fault);
                }
                break;
            case 9:
            case 10: {
                const bool expected = model.may_probe(now);
                auto permit = breaker.try_probe(now);
                ASSERT_EQ(permit.has_value(), expected) << "step " << i;
                if (!permit) break;
                model.probe(now, permit->id);
                told = permit->transition;
                permits.push_back(*permit);
                break;
            }
            case 11:
            case 12: {
                if (permits.empty()) break;
                // Mostly a recent one, sometimes one long settled.
                const std::size_t back =
                    dice.one_in(4) ? dice.below(permits.size()) : dice.below(std::min<std::size_t>(3, permits.size()));
                const Permit& permit = permits[permits.size() - 1 - back];
                const Fault fault = some_fault();
                if (dice.one_in(8)) {
                    breaker.give_back(permit);
                    model.redeem(permit.id);
                } else if (!dice.one_in(3)) {
                    told = breaker.on_probe_ok(permit, now);
                    model.probed(now, permit.id, true, fault);
                } else {
                    told = breaker.on_probe_failed(permit, now, "p", fault);
                    model.probed(now, permit.id, false, fault);
                }
                break;
            }
            case 13:
                breaker.wake(now, 0s);
                model.wake(now);
                break;
            case 14:
                if (dice.one_in(6)) {
                    const Duration how_long = Duration(1s) * dice.below(60);
                    told = breaker.trip(now, how_long, "t");
                    model.trip(now, how_long);
                } else if (dice.one_in(6)) {
                    breaker.reset(now);
                    model.reset(now);
                }
                break;
        }

        SCOPED_TRACE("step " + std::to_string(i) + " op " + std::to_string(op));
        ASSERT_EQ(breaker.state(), model.state);
        ASSERT_EQ(told.has_value(), before != model.state);
        if (told) {
            ASSERT_EQ(told->from, before);
            ASSERT_EQ(told->to, model.state);
            ASSERT_EQ(told->at, now);
        }
        const Snapshot view = breaker.snapshot(now);
        const Model::Sum sum = model.window(now);
        ASSERT_EQ(view.since, model.since);
        ASSERT_EQ(view.opened, model.opened);
        ASSERT_EQ(view.closed, model.closed);
        ASSERT_EQ(view.half_opened, model.half_opened);
        ASSERT_EQ(view.attempts, model.attempts);
        ASSERT_EQ(view.consecutive_failures, model.consecutive);
        ASSERT_DOUBLE_EQ(view.failure_rate, sum.all > 0 ? sum.failed / sum.all : 0);
        ASSERT_EQ(view.misconfigured, model.misconfigured);
        ASSERT_EQ(view.forced.has_value(), model.forced && now < model.due);
        ASSERT_EQ(view.backoff_exhausted, model.state != State::closed && model.step > 5);
        // next_attempt_at is the truth: then there is something to have, and not a moment before.
        ASSERT_EQ(view.next_attempt_at.has_value(), model.state != State::closed);
        if (view.next_attempt_at) {
            ASSERT_TRUE(model.may_probe(std::max(now, *view.next_attempt_at)));
            if (*view.next_attempt_at > now) {
                ASSERT_FALSE(model.may_probe(*view.next_attempt_at - 1ns));
            }
        }
    }
}

TEST(BreakerProperty, behaves_like_the_model) { for_seeds(400, play); }

// Whatever happened before: once the server answers, a few probes at the times asked for close it. Never stuck.
TEST(BreakerProperty, always_recovers_when_the_server_does) {
    for_seeds(400, [](std::uint64_t seed) {
        Dice dice(seed);
        Breaker breaker(BreakerSettings{}, seed, start);
        TimePoint now = start;
        for (int i = 0; i < 200; ++i) {
            now += Duration(1ms) * dice.below(3000);
            switch (dice.below(6)) {
                case 0:
                    breaker.on_connect_failed(now, "c", static_cast<Fault>(dice.below(4)));
                    break;
                case 1:
                    breaker.on_failure(now, "f");
                    break;
                case 2:
                    breaker.wake(now);
                    break;
                case 3:
                    breaker.trip(now, Duration(1s) * dice.below(90), "t");
                    break;
                case 4:  // lost: its outcome is never told
                    breaker.try_probe(now);
                    break;
                case 5:
                    if (const auto permit = breaker.try_probe(now)) breaker.on_probe_failed(*permit, now, "p");
                    break;
            }
        }
        for (int probes = 0; !breaker.allows(); ++probes) {
            ASSERT_LT(probes, 4);
            now = std::max(now, breaker.next_attempt_at().value());
            const auto permit = breaker.try_probe(now);
            ASSERT_TRUE(permit);
            breaker.on_probe_ok(*permit, now);
        }
        ASSERT_LE(now, start + 200 * 3s + 90s);
    });
}

}  // namespace
}  // namespace breakwater::resilience
