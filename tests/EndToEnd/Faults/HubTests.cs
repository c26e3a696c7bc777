using Xunit;
using Xunit.Abstractions;

namespace Intercommunalite.EndToEnd.Tests.Faults;

/// <summary>A slow hub slows nobody's acceptance.</summary>
[Collection(FaultServers.First)]
public sealed class HubTests(FaultServers servers, ITestOutputHelper output)
{
    [Fact]
    public async Task Given_a_hub_that_stands_still_When_communes_send_Then_every_request_is_accepted_and_all_is_there_once_it_goes_on()
    {
        await using var scenario = await Scenario.StartAsync(servers.Servers, output);
        scenario.Sender.SendUpTo(8_000);
        await scenario.Sender.HasAcceptedAsync(1_000);

        scenario.Deployment.Hub.Freeze();
        await scenario.Sender.HasAcceptedAsync(8_000);
        Assert.Empty(scenario.Sender.OtherAnswers);
        scenario.Deployment.Hub.Thaw();

        await scenario.RecoversAsync("hub frozen");
        await scenario.EndsCompleteAsync(10_000);
        Assert.Empty(scenario.Sender.OtherAnswers);
    }
}
