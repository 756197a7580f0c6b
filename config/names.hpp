// How each enumerator is written in the file: one table per enum, for reading, showing and suggesting.
#pragma once

#include <array>
#include <string_view>
#include <utility>

#include "config/config.hpp"

namespace breakwater::config {

template <class E>
using Name = std::pair<E, std::string_view>;

template <class E>
struct Names;  // Names<E>::all: an array of Name<E>

template <>
struct Names<LogLevel> {
    static constexpr std::array<Name<LogLevel>, 5> all{{{LogLevel::trace, "trace"},
                                                        {LogLevel::debug, "debug"},
                                                        {LogLevel::info, "info"},
                                                        {LogLevel::warn, "warn"},
                                                        {LogLevel::error, "error"}}};
};
template <>
struct Names<LogFormat> {
    static constexpr std::array<Name<LogFormat>, 2> all{{{LogFormat::json, "json"}, {LogFormat::text, "text"}}};
};
template <>
struct Names<Readiness> {
    static constexpr std::array<Name<Readiness>, 2> all{
        {{Readiness::self, "self"}, {Readiness::databases, "databases"}}};
};
template <>
struct Names<Jitter> {
    static constexpr std::array<Name<Jitter>, 5> all{{{Jitter::none, "none"},
                                                      {Jitter::additive, "additive"},
                                                      {Jitter::equal, "equal"},
                                                      {Jitter::full, "full"},
                                                      {Jitter::decorrelated, "decorrelated"}}};
};
template <>
struct Names<Protocol> {
    static constexpr std::array<Name<Protocol>, 3> all{
        {{Protocol::postgres, "postgres"}, {Protocol::redis, "redis"}, {Protocol::mongo, "mongo"}}};
};
template <>
struct Names<Mode> {  // Mode::none has no name: it is what postgres has, and cannot be written
    static constexpr std::array<Name<Mode>, 6> all{{{Mode::standalone, "standalone"},
                                                    {Mode::sentinel, "sentinel"},
                                                    {Mode::cluster, "cluster"},
                                                    {Mode::replica_set, "replica_set"},
                                                    {Mode::sharded, "sharded"},
                                                    {Mode::automatic, "auto"}}};
};
template <>
struct Names<Role> {
    static constexpr std::array<Name<Role>, 3> all{
        {{Role::automatic, "auto"}, {Role::primary, "primary"}, {Role::replica, "replica"}}};
};
template <>
struct Names<ClientAuth> {
    static constexpr std::array<Name<ClientAuth>, 2> all{
        {{ClientAuth::trust, "trust"}, {ClientAuth::password, "password"}}};
};
template <>
struct Names<ServerCommands> {
    static constexpr std::array<Name<ServerCommands>, 2> all{
        {{ServerCommands::refuse, "refuse"}, {ServerCommands::allow, "allow"}}};
};
template <>
struct Names<TlsMode> {
    static constexpr std::array<Name<TlsMode>, 4> all{{{TlsMode::disable, "disable"},
                                                       {TlsMode::prefer, "prefer"},
                                                       {TlsMode::require, "require"},
                                                       {TlsMode::verify_full, "verify-full"}}};
};
template <>
struct Names<PoolMode> {
    static constexpr std::array<Name<PoolMode>, 2> all{
        {{PoolMode::session, "session"}, {PoolMode::transaction, "transaction"}}};
};
template <>
struct Names<ReadYourWrites> {
    static constexpr std::array<Name<ReadYourWrites>, 2> all{
        {{ReadYourWrites::none, "none"}, {ReadYourWrites::session, "session"}}};
};
template <>
struct Names<ReplicaFallback> {
    static constexpr std::array<Name<ReplicaFallback>, 2> all{
        {{ReplicaFallback::primary, "primary"}, {ReplicaFallback::error, "error"}}};
};
template <>
struct Names<ReadPreference> {  // MongoDB's own spelling
    static constexpr std::array<Name<ReadPreference>, 5> all{
        {{ReadPreference::primary, "primary"},
         {ReadPreference::primary_preferred, "primaryPreferred"},
         {ReadPreference::secondary, "secondary"},
         {ReadPreference::secondary_preferred, "secondaryPreferred"},
         {ReadPreference::nearest, "nearest"}}};
};
template <>
struct Names<ShardBy> {
    static constexpr std::array<Name<ShardBy>, 2> all{{{ShardBy::hash, "hash"}, {ShardBy::range, "range"}}};
};
template <>
struct Names<WithoutKey> {
    static constexpr std::array<Name<WithoutKey>, 2> all{
        {{WithoutKey::scatter, "scatter"}, {WithoutKey::error, "error"}}};
};

// As it is written in the file.
template <class E>
constexpr std::string_view name_of(E value) {
    for (const auto& [enumerator, name] : Names<E>::all)
        if (enumerator == value) return name;
    return "";
}

}  // namespace breakwater::config
