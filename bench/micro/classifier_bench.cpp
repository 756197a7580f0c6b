// What it costs to know what a statement does: the quick answer for nearly all traffic, and the whole analysis.
#include <benchmark/benchmark.h>

#include <array>
#include <string>
#include <string_view>

#include "protocols/postgres/sql.hpp"

namespace {

namespace sql = breakwater::postgres::sql;

struct Sample {
    const char* name;
    std::string text;
};

const std::array<Sample, 7>& samples() {
    static const std::array<Sample, 7> all{{
        {"pgbench select", "SELECT abalance FROM pgbench_accounts WHERE aid = 73819;"},
        {"prepared insert",
         "INSERT INTO orders (id, customer, total, placed_at) VALUES ($1, $2, $3, now()) RETURNING id"},
        {"begin", "BEGIN"},
        {"set", "SET search_path TO app, public"},
        {"orm join",
         R"(SELECT "o"."id", "o"."total", "c"."name" FROM "orders" AS "o" INNER JOIN "customers" AS "c" ON "c"."id" = )"
         R"("o"."customer_id" WHERE "o"."state" IN ('paid', 'sent') AND "o"."placed_at" > '2024-01-01' )"
         R"(ORDER BY "o"."placed_at" DESC LIMIT 50 OFFSET 100)"},
        {"three statements", "BEGIN; UPDATE accounts SET balance = balance - 1 WHERE id = 1; COMMIT"},
        {"64 KiB literal", "INSERT INTO blobs VALUES ('" + std::string(65536, 'x') + "')"},
    }};
    return all;
}

void quick(benchmark::State& state) {
    const Sample& sample = samples()[static_cast<std::size_t>(state.range(0))];
    for (auto _ : state) {
        std::string_view text = sample.text;
        benchmark::DoNotOptimize(text);
        benchmark::DoNotOptimize(sql::quick(text));
    }
    state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * sample.text.size()));
    state.SetLabel(sample.name);
}
BENCHMARK(quick)->DenseRange(0, 6);

void analyze(benchmark::State& state) {
    const Sample& sample = samples()[static_cast<std::size_t>(state.range(0))];
    for (auto _ : state) {
        std::string_view text = sample.text;
        benchmark::DoNotOptimize(text);
        benchmark::DoNotOptimize(sql::analyze(text));
    }
    state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * sample.text.size()));
    state.SetLabel(sample.name);
}
BENCHMARK(analyze)->DenseRange(0, 6);

}  // namespace
