using Intercommunalite.Testing;
using Xunit;
using Xunit.Abstractions;

namespace Intercommunalite.EndToEnd.Tests.Faults;

/// <summary>The disk of a connector fills up in the middle of the stream.</summary>
[Collection(FaultServers.First)]
public sealed class DiskTests(FaultServers servers, ITestOutputHelper output)
{
    [SmallDiskFact]
    public async Task Given_a_connector_whose_disk_is_full_When_there_is_room_again_Then_it_accepts_by_itself_and_all_is_there_soon()
    {
        SmallDisk? disk = null;
        // Nothing kept free: the disk is full indeed when the journal meets it.
        await using var scenario = await Scenario.StartAsync(
            servers.Servers, output, deployment => disk = new SmallDisk(64, deployment.DataOf(0)), ("Journal__MinFreeDisk", "0"));
        using var mounted = disk!;
        scenario.Sender.SendUpTo(2_000);
        await scenario.Sender.HasAcceptedAsync(2_000);

        mounted.Fill();
        scenario.Sender.SendUpTo(6_000);
        await Eventually.Is(() => scenario.Sender.OtherAnswers.Count, answers => answers >= 9);
        Assert.All(scenario.Sender.OtherAnswers, answer => Assert.Contains(": 503 ", answer, StringComparison.Ordinal));
        mounted.Empty();
        await scenario.Sender.HasAcceptedAsync(6_000);

        await scenario.RecoversAsync("disk full");
        await scenario.EndsCompleteAsync(8_000);
    }
}
