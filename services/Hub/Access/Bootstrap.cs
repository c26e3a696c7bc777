using System.Security.Cryptography;
using System.Text;
using Intercommunalite.Hub.Access.SignIn;
using Intercommunalite.ServiceDefaults.Access;
using Microsoft.AspNetCore.Identity;
using OpenIddict.Abstractions;

namespace Intercommunalite.Hub.Access;

/// <summary>What makes the first administrator.</summary>
/// <param name="Secret">Content of the file of the setting <c>Access:BootstrapSecretFile</c>.</param>
/// <param name="Email">Address of the person who administers: an account of an administrator is made too, to sign in to the pages.</param>
internal sealed record BootstrapRequest(string Secret, string? Email = null);

/// <summary>The first administrator.</summary>
/// <param name="Id">Its client id.</param>
/// <param name="Secret">Its secret, told this once.</param>
/// <param name="Account">The account, where one was asked for.</param>
internal sealed record BootstrapAnswer(string Id, string? Secret, AccountPassword? Account = null);

/// <summary>
/// The first administrator, made by whoever can read a file on the hub's host; once there is one, only administrators make others.
/// </summary>
internal static class Bootstrap
{
    /// <summary>The client that is made.</summary>
    public const string ClientId = "first-administrator";

    private const int MinSecretLength = 16;

    public static void Map(IEndpointRouteBuilder api) => api.MapPost("access/bootstrap", CreateAsync)
        .AllowAnonymous()
        .RequireRateLimiting(RateLimits.Secrets)
        .WithName("Bootstrap").WithSummary("Makes the first administrator, for whoever knows the secret of Access:BootstrapSecretFile; its secret is told once");

    private static async Task<IResult> CreateAsync(
        HttpContext context, IConfiguration configuration, IOpenIddictApplicationManager applications, UserManager<Account> accounts,
        SignInSettings signIn, TimeProvider clock, RightsChanges changes, CancellationToken cancellation)
    {
        var (asked, problem) = await Body.ReadAsync<BootstrapRequest>(context.Request);
        if (asked is null) return problem!;
        if (!IsRight(asked.Secret, configuration["Access:BootstrapSecretFile"]))
        {
            return TypedResults.Problem(
                title: "Not the secret", detail: "The secret is the content of the file of the setting Access:BootstrapSecretFile, 16 characters or more.",
                statusCode: StatusCodes.Status403Forbidden);
        }

        if (asked.Email is not null && !AccountsAdmin.IsEmail(asked.Email)) return Body.Unprocessable("email", "an e-mail address expected");
        var (account, password) = asked.Email is { } email ? AccountsAdmin.New(accounts, signIn, clock, new(email, "Administrateur", [Roles.Administrator])) : (null, null);
        // All or nothing: a client whose secret was not told would keep another from being made.
        return await changes.MakeAsync(async () =>
        {
            await foreach (var application in applications.ListAsync(cancellationToken: cancellation))
            {
                if (Client.Of(await applications.GetPropertiesAsync(application, cancellation)) is { } client && client.Roles.Contains(Roles.Administrator))
                {
                    return TypedResults.Problem(
                        title: "There is an administrator", detail: "The first administrator is made once. Ask an administrator, or one of them for a new secret.",
                        statusCode: StatusCodes.Status409Conflict);
                }
            }

            var secret = await ClientsAdmin.MakeAsync(applications, ClientId, new("First administrator", [Roles.Administrator]), cancellation);
            await changes.NoteAsync(new("bootstrap", "access.client-created", ClientId, "first administrator"), cancellation);
            AccountPassword? made = null;
            // One of this address may be left from before: the client alone is then made anew.
            if (account is not null && await AccountsAdmin.AddAsync(accounts, account, [Roles.Administrator], []))
            {
                await changes.NoteAsync(new("bootstrap", "access.account-created", account.Id, "first administrator"), cancellation);
                made = new(account.Id, account.Email, password);
            }

            return TypedResults.Ok(new BootstrapAnswer(ClientId, secret, made));
        }, cancellation);
    }

    private static bool IsRight(string given, string? file)
    {
        if (string.IsNullOrEmpty(file) || !File.Exists(file)) return false;
        var secret = File.ReadAllText(file).Trim();
        return secret.Length >= MinSecretLength
            && CryptographicOperations.FixedTimeEquals(SHA256.HashData(Encoding.UTF8.GetBytes(given.Trim())), SHA256.HashData(Encoding.UTF8.GetBytes(secret)));
    }
}
