using Intercommunalite.ServiceDefaults.Access;
using Microsoft.AspNetCore.Components.Authorization;
using Microsoft.AspNetCore.Components.Server;

namespace Intercommunalite.Hub.Access.SignIn;

/// <summary>
/// Asks again and again whether the person before an open page may still be in: its connection lives on after the request that began
/// it. A page that is open is used: it stays as long as a session lasts at most.
/// </summary>
internal sealed class OpenPages(ILoggerFactory log, IServiceScopeFactory scopes, SignInSettings options) : RevalidatingServerAuthenticationStateProvider(log)
{
    /// <inheritdoc/>
    protected override TimeSpan RevalidationInterval => TimeSpan.FromSeconds(options.RecheckSeconds);

    /// <inheritdoc/>
    protected override async Task<bool> ValidateAuthenticationStateAsync(AuthenticationState authenticationState, CancellationToken cancellationToken)
    {
        await using var scope = scopes.CreateAsyncScope();
        var user = await scope.ServiceProvider.GetRequiredService<Sessions>().RecheckAsync(authenticationState.User);
        return user is not null && Caller.Of(user).Is(Rules.WhoSeesPages);
    }
}
