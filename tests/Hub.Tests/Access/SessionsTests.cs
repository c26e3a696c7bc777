using Intercommunalite.Hub.Access;
using Intercommunalite.Hub.Access.SignIn;
using Microsoft.AspNetCore.Identity;
using Microsoft.Extensions.DependencyInjection;
using Xunit;

namespace Intercommunalite.Hub.Tests.Access;

public sealed class SessionsTests(HubApp hub) : IClassFixture<HubApp>
{
    [Fact]
    public async Task Given_a_session_that_is_used_all_the_time_When_eight_hours_are_over_Then_so_is_the_session()
    {
        await using var scope = hub.Services.CreateAsyncScope();
        var sessions = scope.ServiceProvider.GetRequiredService<Sessions>();
        var account = (await scope.ServiceProvider.GetRequiredService<UserManager<Account>>().FindByIdAsync((string)hub.FirstAccount["id"]!))!;
        var begun = DateTimeOffset.UtcNow - Sessions.Longest;
        var (almost, over) = (await sessions.PrincipalAsync(account, Sessions.ByPassword, begun.AddMinutes(1)), await sessions.PrincipalAsync(account, Sessions.ByPassword, begun));

        // Used again and again, it is as old as before.
        Assert.NotNull(await sessions.RecheckAsync((await sessions.RecheckAsync(almost))!));
        Assert.Null(await sessions.RecheckAsync(over));
        Assert.Equal(almost.FindFirst("auth_time")!.Value, (await sessions.RecheckAsync(almost))!.FindFirst("auth_time")!.Value);
    }
}
