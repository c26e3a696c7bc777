using System.Net;
using System.Text.Json.Nodes;
using Intercommunalite.Testing;
using Xunit;

namespace Intercommunalite.EndToEnd.Tests;

public sealed class NothingLostTests
{
    [Fact]
    public async Task Given_no_hub_has_ever_started_and_the_broker_is_down_When_events_are_accepted_Then_they_are_in_the_figures_once_both_are_up()
    {
        await using var servers = await PrivateServers.StartAsync();
        await using var deployment = await Deployment.CreateAsync(servers, Some.BretagneRomantique, [Some.Combourg, Some.Tinteniac]);
        await deployment.Connectors[0].StartAsync();

        await AcceptedAsync(deployment, Some.Combourg, 1, 10);
        await servers.StopRabbitMqAsync();
        await AcceptedAsync(deployment, Some.Combourg, 11, 20);
        await deployment.Connectors[0].StopAsync();
        await deployment.Connectors[0].StartAsync();
        await AcceptedAsync(deployment, Some.Tinteniac, 1, 5);
        await servers.StartRabbitMqAsync();
        await AcceptedAsync(deployment, Some.Combourg, 31, 1);
        await deployment.Hub.StartAsync();
        await deployment.HasEventsAsync(36);

        // The broker loses everything while hub and connector run.
        await servers.KillRabbitMqAsync();
        await AcceptedAsync(deployment, Some.Combourg, 32, 9);
        await servers.LoseRabbitMqDataAsync();
        await servers.StartRabbitMqAsync();
        await deployment.HasEventsAsync(45);

        Assert.Equal(45, (await deployment.GetAsync("/api/v1/civil-records/indicators"))["items"]!.AsArray().Sum(item => (int)item!["births"]!));
        await InOrderAsync(deployment);
    }

    [Fact]
    public async Task Given_a_hub_killed_again_and_again_in_the_middle_of_a_backfill_When_it_restarts_Then_totals_are_exact()
    {
        const int Batches = 60;
        await using var deployment = await (await Deployment.CreateAsync(Some.BretagneRomantique, [Some.Combourg], [Some.Tinteniac])).StartAsync();

        var backfill = Task.WhenAll(Enumerable.Range(0, 2).Select(async connector =>
        {
            for (var batch = 0; batch < Batches; batch++)
                await AcceptedAsync(deployment, connector == 0 ? Some.Combourg : Some.Tinteniac, (batch * 200) + 1, 200, connector);
        }));
        for (var kill = 1; kill <= 3; kill++)
        {
            var enough = kill * Batches * 200L / 4;
            await Eventually.Is(() => deployment.CountAsync("SELECT coalesce(sum(events), 0) FROM ingestion.journal"), stored => stored >= enough, TimeSpan.FromMinutes(2));
            deployment.Hub.Kill();
            await deployment.Hub.StartAsync();
        }

        await backfill;
        await deployment.HasEventsAsync(2 * Batches * 200);
        var items = (await deployment.GetAsync("/api/v1/civil-records/indicators"))["items"]!.AsArray();
        Assert.Equal([Batches * 200, Batches * 200], items.Select(item => (int)item!["births"]!));
        await InOrderAsync(deployment);

        // The same again, word for word: nothing changes.
        using var again = await deployment.PostAsync(0, Some.Combourg, Some.Births(Some.Combourg, 1, 200));
        var posted = JsonNode.Parse(await again.Content.ReadAsStringAsync())!["events"]!.AsArray();
        Assert.All(posted, place => Assert.True((bool)place!["duplicate"]!));
        Assert.Equal(Enumerable.Range(1, 200), posted.Select(place => (int)place!["position"]!));
        await AcceptedAsync(deployment, Some.Combourg, (Batches * 200) + 1, 1);
        await deployment.HasEventsAsync((2 * Batches * 200) + 1);
    }

    [Fact]
    public async Task Given_a_connector_restored_from_an_older_copy_When_it_accepts_events_Then_none_is_taken_for_one_that_it_had_since()
    {
        await using var deployment = await (await Deployment.CreateAsync(Some.BretagneRomantique, [Some.Combourg])).StartAsync();
        var (data, copy) = (deployment.DataOf(0), deployment.DataOf(1));
        await AcceptedAsync(deployment, Some.Combourg, 1, 10);
        await deployment.HasEventsAsync(10);
        await deployment.Connectors[0].StopAsync();
        Copy(data, copy);
        await deployment.Connectors[0].StartAsync();
        await AcceptedAsync(deployment, Some.Combourg, 11, 10);
        await deployment.HasEventsAsync(20);
        await deployment.Connectors[0].StopAsync();
        Directory.Delete(data, recursive: true);
        Copy(copy, data);

        await deployment.Connectors[0].StartAsync();
        await AcceptedAsync(deployment, Some.Combourg, 21, 5);

        await deployment.HasEventsAsync(25);
        Assert.Equal(25, (await deployment.GetAsync("/api/v1/civil-records/indicators"))["items"]!.AsArray().Sum(item => (int)item!["births"]!));

        static void Copy(string from, string to)
        {
            foreach (var file in Directory.GetFiles(from, "*", SearchOption.AllDirectories))
            {
                var target = Path.Combine(to, Path.GetRelativePath(from, file));
                Directory.CreateDirectory(Path.GetDirectoryName(target)!);
                File.Copy(file, target);
            }
        }
    }

    private static async Task AcceptedAsync(Deployment deployment, string commune, int first, int count, int connector = 0)
    {
        using var response = await deployment.PostAsync(connector, commune, Some.Births(commune, first, count));
        Assert.Equal(HttpStatusCode.Accepted, response.StatusCode);
    }

    // Every event once, in its journal's order, and nothing in quarantine.
    private static async Task InOrderAsync(Deployment deployment)
    {
        Assert.Equal(0, await deployment.CountAsync("SELECT count(*) FROM ingestion.quarantine"));
        Assert.Equal(0, await deployment.CountAsync("""
            SELECT count(*) FROM (
                SELECT (headers->>'position')::bigint AS position, row_number() OVER (PARTITION BY headers->>'journal' ORDER BY seq_id) AS place
                FROM hub.mt_events) AS stored
            WHERE position <> place
            """));
    }
}
