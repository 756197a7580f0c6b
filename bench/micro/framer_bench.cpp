// What it costs to find the ends of messages: a query's few, a result's many, and a big row seen in slices.
#include <benchmark/benchmark.h>

#include <string>

#include "protocols/postgres/framer.hpp"

namespace {

using breakwater::ByteView;
using breakwater::postgres::Frame;
using breakwater::postgres::next_frame;

std::string message(char type, std::size_t body) {
    std::string out(breakwater::postgres::kHeader + body, 'x');
    out[0] = type;
    breakwater::store_be32(out.data() + 1, static_cast<std::uint32_t>(body + 4));
    return out;
}

// Walks a buffer to its end as a reader does; the count keeps the compiler honest.
std::size_t walk(ByteView bytes) {
    std::size_t seen = 0;
    while (true) {
        const Frame frame = next_frame(bytes);
        if (frame.status != Frame::Status::whole) return seen;
        ++seen;
        bytes.remove_prefix(frame.size);
    }
}

void walk_buffer(benchmark::State& state, const std::string& bytes) {
    std::size_t messages = 0;
    for (auto _ : state) {
        ByteView view = bytes;
        benchmark::DoNotOptimize(view);
        messages += walk(view);
    }
    state.SetItemsProcessed(static_cast<std::int64_t>(messages));
    state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * bytes.size()));
}

void simple_answer(benchmark::State& state) {
    // RowDescription, DataRow, CommandComplete, ReadyForQuery: what pgbench -S hears.
    walk_buffer(state, message('T', 29) + message('D', 11) + message('C', 9) + message('Z', 1));
}
BENCHMARK(simple_answer);

void extended_request(benchmark::State& state) {
    walk_buffer(state, message('P', 60) + message('B', 22) + message('D', 2) + message('E', 5) + message('S', 0));
}
BENCHMARK(extended_request);

void rows_in_a_buffer(benchmark::State& state) {
    const auto row = static_cast<std::size_t>(state.range(0));
    std::string bytes;
    while (bytes.size() + row + 5 <= 65536) bytes += message('D', row);
    walk_buffer(state, bytes);
}
BENCHMARK(rows_in_a_buffer)->Arg(16)->Arg(128)->Arg(1024);

void header_of_a_big_row(benchmark::State& state) {
    std::string bytes = message('D', 1 << 20);
    bytes.resize(65536);
    for (auto _ : state) {
        ByteView view = bytes;
        benchmark::DoNotOptimize(view);
        benchmark::DoNotOptimize(next_frame(view));
    }
}
BENCHMARK(header_of_a_big_row);

}  // namespace
