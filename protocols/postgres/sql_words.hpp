// The words of SQL: PostgreSQL 15's keywords, and those 16 to 18 added. A word that is not here is a plain name.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace breakwater::postgres::sql {

// R reserved, C never the name of a function, T may name functions or types only, U unreserved,
// P unreserved and, in its usual place, followed by a parenthesis that is no call: FILTER (, SET (, ROLLUP (.
// Missing: current_timestamp, reserved but too long for the key below, and a harmless function to us.
// clang-format off
#define BREAKWATER_SQL_WORDS(X) \
    X(abort, U) X(absent, U) X(absolute, U) X(access, U) X(action, U) X(add, U) X(admin, U) X(after, U) \
    X(aggregate, U) X(all, R) X(also, U) X(alter, U) X(always, U) X(analyse, R) X(analyze, R) X(and, R) X(any, R) \
    X(array, R) X(as, R) X(asc, R) X(asensitive, U) X(assertion, U) X(assignment, U) X(asymmetric, R) X(at, U) \
    X(atomic, U) X(attach, U) X(attribute, U) X(authorization, T) X(backward, U) X(before, U) X(begin, U) \
    X(between, C) X(bigint, C) X(binary, T) X(bit, C) X(boolean, C) X(both, R) X(breadth, U) X(by, P) X(cache, U) \
    X(call, U) X(called, U) X(cascade, U) X(cascaded, U) X(case, R) X(cast, R) X(catalog, U) X(chain, U) X(char, C) \
    X(character, C) X(characteristics, U) X(check, R) X(checkpoint, U) X(class, U) X(close, U) X(cluster, U) \
    X(coalesce, C) X(collate, R) X(collation, T) X(column, R) X(columns, U) X(comment, U) X(comments, U) \
    X(commit, U) X(committed, U) X(compression, U) X(concurrently, T) X(conditional, U) X(configuration, U) \
    X(conflict, P) X(connection, U) X(constraint, R) X(constraints, U) X(content, U) X(continue, U) \
    X(conversion, U) X(copy, U) X(cost, U) X(create, R) X(cross, T) X(csv, U) X(cube, P) X(current, U) \
    X(current_catalog, R) X(current_date, R) X(current_role, R) X(current_schema, T) X(current_time, R) \
    X(current_user, R) X(cursor, U) X(cycle, U) X(data, U) X(database, U) X(day, U) X(deallocate, U) X(dec, C) \
    X(decimal, C) X(declare, U) X(default, R) X(defaults, U) X(deferrable, R) X(deferred, U) X(definer, U) \
    X(delete, U) X(delimiter, U) X(delimiters, U) X(depends, U) X(depth, U) X(desc, R) X(detach, U) \
    X(dictionary, U) X(disable, U) X(discard, U) X(distinct, R) X(do, R) X(document, U) X(domain, U) X(double, U) \
    X(drop, U) X(each, U) X(else, R) X(empty, U) X(enable, U) X(encoding, U) X(encrypted, U) X(end, R) \
    X(enforced, U) X(enum, U) X(error, U) X(escape, U) X(event, U) X(except, R) X(exclude, U) X(excluding, U) \
    X(exclusive, U) X(execute, U) X(exists, C) X(explain, U) X(expression, U) X(extension, U) X(external, U) \
    X(extract, C) X(false, R) X(family, U) X(fetch, R) X(filter, P) X(finalize, U) X(first, U) X(float, C) \
    X(following, U) X(for, R) X(force, U) X(foreign, R) X(format, U) X(forward, U) X(freeze, T) X(from, R) \
    X(full, T) X(function, U) X(functions, U) X(generated, U) X(global, U) X(grant, R) X(granted, U) X(greatest, C) \
    X(group, R) X(grouping, C) X(groups, U) X(handler, U) X(having, R) X(header, U) X(hold, U) X(hour, U) \
    X(identity, U) X(if, U) X(ilike, T) X(immediate, U) X(immutable, U) X(implicit, U) X(import, U) X(in, R) \
    X(include, U) X(including, U) X(increment, U) X(indent, U) X(index, U) X(indexes, U) X(inherit, U) \
    X(inherits, U) X(initially, R) X(inline, U) X(inner, T) X(inout, C) X(input, U) X(insensitive, U) X(insert, U) \
    X(instead, U) X(int, C) X(integer, C) X(intersect, R) X(interval, C) X(into, R) X(invoker, U) X(is, T) \
    X(isnull, T) X(isolation, U) X(join, T) X(json, U) X(json_array, U) X(json_arrayagg, U) X(json_exists, U) \
    X(json_object, U) X(json_objectagg, U) X(json_query, U) X(json_scalar, U) X(json_serialize, U) X(json_table, U) \
    X(json_value, U) X(keep, U) X(key, U) X(keys, U) X(label, U) X(language, U) X(large, U) X(last, U) \
    X(lateral, R) X(leading, R) X(leakproof, U) X(least, C) X(left, T) X(level, U) X(like, T) X(limit, R) \
    X(listen, U) X(load, U) X(local, U) X(localtime, R) X(localtimestamp, R) X(location, U) X(lock, U) X(locked, U) \
    X(logged, U) X(lsn, U) X(mapping, U) X(match, U) X(matched, U) X(materialized, P) X(maxvalue, U) X(merge, U) \
    X(merge_action, U) X(method, U) X(minute, U) X(minvalue, U) X(mode, U) X(month, U) X(move, U) X(name, U) \
    X(names, U) X(national, C) X(natural, T) X(nchar, C) X(nested, U) X(new, U) X(next, U) X(nfc, U) X(nfd, U) \
    X(nfkc, U) X(nfkd, U) X(no, U) X(none, C) X(normalize, C) X(normalized, U) X(not, R) X(nothing, U) X(notify, U) \
    X(notnull, T) X(nowait, U) X(null, R) X(nullif, C) X(nulls, U) X(numeric, C) X(object, U) X(objects, U) \
    X(of, U) X(off, U) X(offset, R) X(oids, U) X(old, U) X(omit, U) X(on, R) X(only, R) X(operator, P) X(option, U) \
    X(options, U) X(or, R) X(order, R) X(ordinality, U) X(others, U) X(out, C) X(outer, T) X(over, P) \
    X(overlaps, T) X(overlay, C) X(overriding, U) X(owned, U) X(owner, U) X(parallel, U) X(parameter, U) \
    X(parser, U) X(partial, U) X(partition, U) X(passing, U) X(password, U) X(path, U) X(period, U) X(placing, R) \
    X(plan, U) X(plans, U) X(policy, U) X(position, C) X(preceding, U) X(precision, C) X(prepare, U) X(prepared, U) \
    X(preserve, U) X(primary, R) X(prior, U) X(privileges, U) X(procedural, U) X(procedure, U) X(procedures, U) \
    X(program, U) X(publication, U) X(quote, U) X(quotes, U) X(range, U) X(read, U) X(real, C) X(reassign, U) \
    X(recheck, U) X(recursive, U) X(ref, U) X(references, R) X(referencing, U) X(refresh, U) X(reindex, U) \
    X(relative, U) X(release, U) X(rename, U) X(repeatable, P) X(replace, U) X(replica, U) X(reset, U) \
    X(restart, U) X(restrict, U) X(return, U) X(returning, R) X(returns, U) X(revoke, U) X(right, T) X(role, U) \
    X(rollback, U) X(rollup, P) X(routine, U) X(routines, U) X(row, C) X(rows, U) X(rule, U) X(savepoint, U) \
    X(scalar, U) X(schema, U) X(schemas, U) X(scroll, U) X(search, U) X(second, P) X(security, U) X(select, R) \
    X(sequence, U) X(sequences, U) X(serializable, U) X(server, U) X(session, U) X(session_user, R) X(set, P) \
    X(setof, C) X(sets, P) X(share, U) X(show, U) X(similar, T) X(simple, U) X(skip, U) X(smallint, C) \
    X(snapshot, U) X(some, R) X(source, U) X(sql, U) X(stable, U) X(standalone, U) X(start, U) X(statement, U) \
    X(statistics, U) X(stdin, U) X(stdout, U) X(storage, U) X(stored, U) X(strict, U) X(string, U) X(strip, U) \
    X(subscription, U) X(substring, C) X(support, U) X(symmetric, R) X(sysid, U) X(system, U) X(system_user, U) \
    X(table, R) X(tables, U) X(tablesample, T) X(tablespace, U) X(target, U) X(temp, U) X(template, U) \
    X(temporary, U) X(text, U) X(then, R) X(ties, U) X(time, C) X(timestamp, C) X(to, R) X(trailing, R) \
    X(transaction, U) X(transform, U) X(treat, C) X(trigger, U) X(trim, C) X(true, R) X(truncate, U) X(trusted, U) \
    X(type, U) X(types, U) X(uescape, U) X(unbounded, U) X(uncommitted, U) X(unconditional, U) X(unencrypted, U) \
    X(union, R) X(unique, R) X(unknown, U) X(unlisten, U) X(unlogged, U) X(until, U) X(update, U) X(user, R) \
    X(using, R) X(vacuum, U) X(valid, U) X(validate, U) X(validator, U) X(value, U) X(values, C) X(varchar, C) \
    X(variadic, R) X(varying, P) X(verbose, T) X(version, U) X(view, U) X(views, U) X(virtual, U) X(volatile, U) \
    X(wait, U) X(when, R) X(where, R) X(whitespace, U) X(window, R) X(with, R) X(within, U) X(without, U) \
    X(work, U) X(wrapper, U) X(write, U) X(xml, U) X(xmlattributes, C) X(xmlconcat, C) X(xmlelement, C) \
    X(xmlexists, C) X(xmlforest, C) X(xmlnamespaces, C) X(xmlparse, C) X(xmlpi, C) X(xmlroot, C) X(xmlserialize, C) \
    X(xmltable, C) X(year, U) X(yes, U) X(zone, P)
// clang-format on

enum class Word : std::uint16_t {
    none,
#define BREAKWATER_SQL_WORD(word, category) word##_,
    BREAKWATER_SQL_WORDS(BREAKWATER_SQL_WORD)
#undef BREAKWATER_SQL_WORD
};
enum class Category : std::uint8_t { none, R, C, T, U, P };

// Up to 16 bytes, case folded: the first eight and the last eight, overlapping in between. With the length it is the
// whole word, so that two keys are compared instead of two strings. Folding sets bit 0x20, which among the bytes a
// word is made of only merges upper and lower case.
struct WordKey {
    std::uint64_t head = 0, tail = 0;
    std::uint64_t size = 0;
    friend constexpr bool operator==(const WordKey&, const WordKey&) = default;
};
constexpr std::size_t kLongestWord = 16;

constexpr WordKey word_key_slow(std::string_view word) {
    WordKey key;
    auto take = [&](std::size_t from, std::size_t count) {
        std::uint64_t v = 0;
        for (std::size_t i = 0; i < count; ++i)
            v |= static_cast<std::uint64_t>(static_cast<unsigned char>(word[from + i]) | 0x20u) << (8 * i);
        return v;
    };
    const std::size_t part = word.size() >= 8 ? 8 : word.size() >= 4 ? 4 : word.size() >= 2 ? 2 : 1;
    key.head = take(0, part);
    key.tail = take(word.size() - part, part);
    key.size = word.size();
    return key;
}

template <class T>
inline std::uint64_t load_folded(const char* p) {
    T v;
    std::memcpy(&v, p, sizeof v);
    return v | static_cast<T>(0x2020202020202020ull);
}
inline WordKey word_key(const char* p, std::size_t size) {  // 2 <= size <= kLongestWord
    WordKey key;
    if (size >= 8) {
        key = {load_folded<std::uint64_t>(p), load_folded<std::uint64_t>(p + size - 8), size};
    } else if (size >= 4) {
        key = {load_folded<std::uint32_t>(p), load_folded<std::uint32_t>(p + size - 4), size};
    } else {
        key = {load_folded<std::uint16_t>(p), load_folded<std::uint16_t>(p + size - 2), size};
    }
    return key;
}

struct WordSlot {
    WordKey key;
    Word word = Word::none;
};
constexpr std::size_t kWordSlots = 2048;
constexpr std::size_t word_hash(WordKey key) {
    const std::uint64_t mixed = (key.head ^ (key.tail << 7 | key.tail >> 57)) * 0x9E3779B97F4A7C15ull;
    return static_cast<std::size_t>(mixed >> 53);
}
extern const std::array<WordSlot, kWordSlots> kWordTable;
extern const std::array<Category, 1024> kWordCategory;  // by Word

inline Word find_word(const char* p, std::size_t size) {
    if (size < 2 || size > kLongestWord) return Word::none;
    const WordKey key = word_key(p, size);
    for (std::size_t at = word_hash(key);; at = (at + 1) % kWordSlots) {
        const WordSlot& slot = kWordTable[at];
        if (slot.word == Word::none || slot.key == key) return slot.word;
    }
}
inline Category category(Word word) { return kWordCategory[static_cast<std::size_t>(word)]; }

}  // namespace breakwater::postgres::sql
