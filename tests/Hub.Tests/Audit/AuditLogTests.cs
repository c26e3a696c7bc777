using Intercommunalite.Hub.Audit;
using Microsoft.Extensions.DependencyInjection;
using Npgsql;
using Xunit;

namespace Intercommunalite.Hub.Tests.Audit;

public sealed class AuditLogTests(HubStore hub) : IClassFixture<HubStore>, IAsyncLifetime
{
    private AuditLog _audit = null!;

    public async Task InitializeAsync()
    {
        _audit = hub.Services.GetRequiredService<AuditLog>();
        await SqlAsync("DROP TRIGGER IF EXISTS only_added ON audit.entry; TRUNCATE audit.entry");
        for (var i = 1; i <= 5; i++) await _audit.AppendAsync(new($"client-{i}", "test.act", $"subject-{i}", "because \"it\" é", new() { ["number"] = i, ["text"] = "é\u202E" }), default);
    }

    public Task DisposeAsync() => Task.CompletedTask;

    [Fact]
    public async Task Given_entries_When_the_chain_is_verified_Then_all_are_as_they_were_written()
    {
        var check = await _audit.VerifyAsync(null, default);
        Assert.Equal((5, null), (check.Entries, check.Wrong));
        Assert.Equal(check.LastHash, (await _audit.ReadAsync(4, 10, new(), default)).Single().Hash);
    }

    [Theory]
    [InlineData("UPDATE audit.entry SET who = 'somebody else' WHERE seq = 3", 2, "entry 3 was changed")]
    [InlineData("UPDATE audit.entry SET details = NULL WHERE seq = 1", 0, "entry 1 was changed")]
    [InlineData("UPDATE audit.entry SET at = at + interval '1 microsecond' WHERE seq = 5", 4, "entry 5 was changed")]
    [InlineData("DELETE FROM audit.entry WHERE seq = 2", 1, "entry 2 is missing")]
    [InlineData("DELETE FROM audit.entry WHERE seq = 1", 0, "entry 1 is missing")]
    [InlineData("DELETE FROM audit.entry WHERE seq = 2; UPDATE audit.entry SET seq = seq - 1 WHERE seq > 2", 1, "entry 2 does not follow entry 1")]
    [InlineData("UPDATE audit.entry SET seq = 100 - seq WHERE seq IN (2, 3); UPDATE audit.entry SET seq = seq - 95 WHERE seq > 90", 1, "entry 2 does not follow entry 1")]
    public async Task Given_an_audit_that_somebody_changed_When_it_is_verified_Then_it_says_where(string sql, int right, string wrong)
    {
        await SqlAsync(sql);
        var check = await _audit.VerifyAsync(null, default);
        Assert.Equal((right, wrong), (check.Entries, check.Wrong));
    }

    [Fact]
    public async Task Given_a_hash_that_was_noted_When_the_end_is_cut_off_Then_it_shows()
    {
        var noted = (await _audit.VerifyAsync(null, default)).LastHash;
        await SqlAsync("DELETE FROM audit.entry WHERE seq > 3");

        Assert.Null((await _audit.VerifyAsync(null, default)).Wrong);
        Assert.Contains("cut off", (await _audit.VerifyAsync(noted, default)).Wrong, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_the_table_as_it_is_delivered_When_it_is_to_be_changed_Then_it_refuses()
    {
        await SqlAsync(AuditLog.Guard);
        foreach (var sql in (string[])["UPDATE audit.entry SET who = 'x'", "DELETE FROM audit.entry", "TRUNCATE audit.entry"])
            await Assert.ThrowsAsync<PostgresException>(() => SqlAsync(sql));
        await _audit.AppendAsync(new("client-6", "test.act"), default);
        Assert.Equal(6, (await _audit.VerifyAsync(null, default)).Entries);
    }

    [Fact]
    public async Task Given_many_who_write_at_once_When_the_chain_is_verified_Then_it_is_one()
    {
        await Task.WhenAll(Enumerable.Range(0, 40).Select(i => _audit.AppendAsync(new($"client-{i}", "test.act"), default)));
        Assert.Equal((45, null), ((await _audit.VerifyAsync(null, default)) is var check ? (check.Entries, check.Wrong) : default));
    }

    [Fact]
    public async Task Given_an_act_that_is_rolled_back_Then_so_is_its_entry()
    {
        await using (var connection = await hub.Database.OpenConnectionAsync())
        await using (await connection.BeginTransactionAsync())
            await _audit.AppendAsync(connection, new("client", "test.act"), default);
        Assert.Equal(5, (await _audit.VerifyAsync(null, default)).Entries);
    }

    private async Task SqlAsync(string sql)
    {
        await using var command = hub.Database.CreateCommand(sql);
        await command.ExecuteNonQueryAsync();
    }
}
