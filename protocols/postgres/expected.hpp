// What the server still owes: one entry for each message sent that has an answer of its own, in order. Some are ours
// (an injected Parse, a settling query) and are swallowed; some are not the server's at all but must be told in order
// (a ParseComplete for a statement that is there already).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "protocols/postgres/prepared.hpp"

namespace breakwater::postgres {

struct Expected {
    enum class Kind : std::uint8_t {
        query,      // the client's simple query, or function call: ends with ReadyForQuery
        sync,       // the client's Sync: likewise
        our_query,  // a simple query of ours: likewise, swallowed
        parse,
        bind,
        describe,
        execute,
        close,
        copy_end,   // CopyDone, CopyFail: no answer of its own; tells which Syncs came before it
        our_parse,  // an injected Parse; its failure is told to the client, who caused it
        our_step,   // an injected Bind, Execute or Close: swallowed
        told,       // nothing is owed; `text` is for the client when it is this entry's turn
        instead,    // a message that is bound to fail; `text` is told instead of the server's error
    };
    enum class Purpose : std::uint8_t { none, settle, audit, step, compare };  // of our_query; compare: of our_step
    Kind kind = Kind::query;
    Purpose purpose = Purpose::none;
    bool unnamed = false;  // parse, our_parse: of the unnamed statement
    // What was noted when the message was sent, to be taken back when the server skips it after an error.
    enum class Undo : std::uint8_t {
        none,
        forget_statement,   // the client's name was given to `prepared`
        restore_statement,  // ... was taken from it
        restore_on_server,  // `text` was to be closed on the server
        restore_sequences,  // the connection's sequence state was to be discarded
        restore_by_sql,     // the connection's SQL-level name; `text` is what it was, empty: not there
    };
    Undo undo = Undo::none;
    std::uint16_t statement = 0;             // query: how many of its statements are answered
    std::uint32_t version = 0;               // parse of the unnamed statement: which of the client's
    std::shared_ptr<const Reading> reading;  // query, execute: what it does, where that matters
    struct Words {
        PreparedRef prepared;     // parse, our_parse
        std::string text;         // parse, our_parse: name on the server; told, instead: bytes
        std::string client_name;  // the client's (or SQL-level) name that `undo`, or a step of ours, is about
    };
    std::unique_ptr<Words> words;  // seldom needed, so an entry stays small
    Words& say() {
        if (!words) words = std::make_unique<Words>();
        return *words;
    }
    const std::string& text() const {
        static const std::string none;
        return words ? words->text : none;
    }
};

// A queue that costs nothing while empty: its storage is the worker's, borrowed while something is owed.
class Expectations {
  public:
    using Storage = std::vector<Expected>;
    using Spare = std::vector<Storage>;
    explicit Expectations(Spare& spare) : spare_(spare) {}
    bool empty() const { return head_ == entries_.size(); }
    std::size_t size() const { return entries_.size() - head_; }
    Expected& front() { return entries_[head_]; }
    Expected& operator[](std::size_t i) { return entries_[head_ + i]; }
    Expected& push(Expected::Kind kind) {
        if (entries_.capacity() == 0) borrow();
        Expected& entry = entries_.emplace_back();
        entry.kind = kind;
        return entry;
    }
    void pop() {
        if (++head_ == entries_.size()) {
            entries_.clear();
            head_ = 0;
            if (entries_.capacity() > kKeep) entries_.shrink_to_fit();
        } else if (head_ > 1024 && head_ > entries_.size() / 2) {
            entries_.erase(entries_.begin(), entries_.begin() + static_cast<std::ptrdiff_t>(head_));
            head_ = 0;
        }
    }
    void erase(std::size_t i) {
        entries_.erase(entries_.begin() + static_cast<std::ptrdiff_t>(head_ + i));
        if (head_ == entries_.size()) {
            entries_.clear();
            head_ = 0;
        }
    }
    void clear() {
        entries_.clear();
        head_ = 0;
        if (entries_.capacity() == 0) return;
        if (entries_.capacity() <= kKeep && spare_.size() < kSpare) spare_.push_back(std::move(entries_));
        Storage().swap(entries_);
    }
    void idle() {  // keeps no memory for a client that does nothing
        if (empty() && entries_.capacity() > 0) clear();
    }

  private:
    static constexpr std::size_t kKeep = 64;
    static constexpr std::size_t kSpare = 128;  // about as many requests as a worker has under way at a time
    void borrow() {
        if (spare_.empty()) return entries_.reserve(8);
        entries_ = std::move(spare_.back());
        spare_.pop_back();
    }
    Spare& spare_;
    Storage entries_;
    std::size_t head_ = 0;
};

}  // namespace breakwater::postgres
