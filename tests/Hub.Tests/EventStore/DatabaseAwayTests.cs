using System.Net;
using System.Text.Json.Nodes;
using Grpc.Core;
using Intercommunalite.Contracts.Feed.V1;
using Intercommunalite.Hub.Agreements;
using Intercommunalite.Hub.EventStore;
using Intercommunalite.Hub.Feeds;
using Intercommunalite.Hub.Tests.Access;
using Intercommunalite.Hub.Tests.Agreements;
using Intercommunalite.ServiceDefaults.Access;
using Marten;
using Microsoft.EntityFrameworkCore;
using Npgsql;
using Xunit;

namespace Intercommunalite.Hub.Tests.EventStore;

/// <summary>A database that is away is told to callers as something that passes, whichever way they call.</summary>
public sealed class DatabaseAwayTests : IAsyncLifetime
{
    private readonly HubStore _hub = new();

    public Task InitializeAsync() => _hub.InitializeAsync();

    public async Task DisposeAsync()
    {
        await AllowAsync(_hub.ConnectionString, true);
        await _hub.DisposeAsync();
    }

    [Fact]
    public async Task Given_a_database_that_takes_no_connection_When_called_over_http_Then_it_is_503_until_it_is_back()
    {
        await using var server = await HubServer.StartAsync(_hub);
        foreach (var path in (string[])["civil-records/indicators?by=month", "civil-records/indicators?by=month&asOf=2026-11-01", "admin/projections"])
        {
            await AllowAsync(_hub.ConnectionString, false);
            using (var away = await server.GetAsync($"/api/v1/{path}"))
            {
                Assert.Equal((HttpStatusCode.ServiceUnavailable, "application/problem+json"), (away.StatusCode, away.Content.Headers.ContentType?.MediaType));
                Assert.True(away.Headers.RetryAfter?.Delta > TimeSpan.Zero);
                Assert.Equal("The hub's database does not answer now. Ask again in 5 s.", (string)JsonNode.Parse(await away.Content.ReadAsStringAsync())!["detail"]!);
            }

            await AllowAsync(_hub.ConnectionString, true);
            using var back = await server.GetAsync($"/api/v1/{path}");
            Assert.Equal(HttpStatusCode.OK, back.StatusCode);
        }
    }

    [Fact]
    public async Task Given_a_database_that_takes_no_connection_When_the_token_server_accounts_and_agreements_are_called_Then_it_is_503_until_it_is_back()
    {
        var app = new HubApp();
        await app.InitializeAsync();
        await using var ends = app.ConfigureAwait(true);
        var secret = await app.MakeClientAsync("client", ["epci-agent"]);
        (string What, Func<Task<HttpResponseMessage>> Ask)[] calls =
        [
            ("a token", () => app.AskAsync(new() { ["client_id"] = "client", ["client_secret"] = secret })),
            ("accounts", () => app.Administrator.GetAsync(new Uri("/api/v1/access/accounts", UriKind.Relative))),
            ("clients", () => app.Administrator.GetAsync(new Uri("/api/v1/access/clients", UriKind.Relative))),
            ("agreements", () => app.Administrator.GetAsync(new Uri("/api/v1/agreements", UriKind.Relative))),
        ];
        try
        {
            await AllowAsync(app.Database.ConnectionString, false);
            foreach (var (what, ask) in calls)
            {
                using var away = await ask();
                Assert.Equal((what, HttpStatusCode.ServiceUnavailable, true), (what, away.StatusCode, away.Headers.RetryAfter?.Delta > TimeSpan.Zero));
            }
        }
        finally
        {
            await AllowAsync(app.Database.ConnectionString, true);
        }

        foreach (var (what, ask) in calls)
        {
            using var back = await ask();
            Assert.Equal((what, HttpStatusCode.OK), (what, back.StatusCode));
        }
    }

    [Fact]
    public async Task Given_a_database_that_takes_no_connection_When_called_over_grpc_Then_it_is_unavailable_until_it_is_back()
    {
        await using var server = await AccessServer.StartAsync(_hub);
        var headers = AccessServer.Headers(await server.LetInAsync("administrator", Roles.Administrator));
        await server.Feed.ReadAsync(new ReadRequest(), headers);

        await AllowAsync(_hub.ConnectionString, false);
        var away = await Assert.ThrowsAsync<RpcException>(() => server.Feed.ReadAsync(new ReadRequest(), headers).ResponseAsync);
        await AllowAsync(_hub.ConnectionString, true);

        Assert.Equal(StatusCode.Unavailable, away.StatusCode);
        await server.Feed.ReadAsync(new ReadRequest(), headers);
    }

    [Fact]
    public async Task Given_errors_of_the_database_Then_those_that_pass_are_told_from_those_that_stay()
    {
        var closed = new NpgsqlConnectionStringBuilder(_hub.ConnectionString) { Port = 1, Pooling = false }.ConnectionString;
        Assert.True(DatabaseAway.Is(await FailAsync(closed, "SELECT 1")));
        Assert.True(DatabaseAway.Is(await FailAsync(_hub.ConnectionString, "SELECT pg_terminate_backend(pg_backend_pid())")));
        Assert.True(DatabaseAway.Is(await FailAsync(new NpgsqlConnectionStringBuilder(_hub.ConnectionString) { CommandTimeout = 1 }.ConnectionString, "SELECT pg_sleep(10)")));
        await using (var marten = DocumentStore.For(closed).QuerySession())
            Assert.True(DatabaseAway.Is(await Assert.ThrowsAnyAsync<Exception>(() => marten.LoadAsync<Agreement>("none"))));
        await using (var entities = new DbContext(new DbContextOptionsBuilder().UseNpgsql(closed).Options))
            Assert.True(DatabaseAway.Is(await Assert.ThrowsAnyAsync<Exception>(() => EntityFrameworkQueryableExtensions.ToListAsync(entities.Database.SqlQuery<int>($"SELECT 1")))));
        Assert.False(DatabaseAway.Is(new InvalidOperationException("of a call to somebody else", new TimeoutException())));
        Assert.Equal(StatusCode.Unavailable, Assert.IsType<RpcException>(await CallAsync(await FailAsync(closed, "SELECT 1"))).StatusCode);
        var wrong = await FailAsync(_hub.ConnectionString, "SELECT 1 / 0");
        Assert.False(DatabaseAway.Is(wrong));
        Assert.Same(wrong, await CallAsync(wrong));
        Assert.False(DatabaseAway.Is(await FailAsync(_hub.ConnectionString, "SELECT FROM no_such_table")));

        // A call over gRPC that fails with it.
        static Task<Exception> CallAsync(Exception error) => Assert.ThrowsAnyAsync<Exception>(
            () => new DatabaseAwayInterceptor().UnaryServerHandler<ReadRequest, ReadResponse>(new(), null!, (_, _) => throw error));

        static async Task<Exception> FailAsync(string connectionString, string sql)
        {
            await using var database = NpgsqlDataSource.Create(connectionString);
            await using var command = database.CreateCommand(sql);
            return await Assert.ThrowsAnyAsync<Exception>(() => command.ExecuteNonQueryAsync());
        }
    }

    // As while it is restored or moved: those that are connected are put out, and nobody gets in.
    private static async Task AllowAsync(string connectionString, bool connections)
    {
        var name = new NpgsqlConnectionStringBuilder(connectionString).Database!;
        await using var administration = NpgsqlDataSource.Create(new NpgsqlConnectionStringBuilder(connectionString) { Database = "postgres", Pooling = false }.ConnectionString);
        await using var allow = administration.CreateCommand($"ALTER DATABASE \"{name}\" ALLOW_CONNECTIONS {connections}");
        await allow.ExecuteNonQueryAsync();
        if (connections) return;
        await using var end = administration.CreateCommand($"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}'");
        await end.ExecuteNonQueryAsync();
    }
}
