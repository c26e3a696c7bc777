using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Territories;
using Intercommunalite.ServiceDefaults.Access;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.IdentityModel.Tokens;
using OpenIddict.Abstractions;
using static OpenIddict.Abstractions.OpenIddictConstants;

namespace Intercommunalite.Hub.Access;

/// <summary>What is asked for a client.</summary>
/// <param name="Name">Name to be shown, of the software and who runs it.</param>
/// <param name="Roles">See <see cref="Roles"/>.</param>
/// <param name="Communes">INSEE codes; required with a role that holds for given communes.</param>
/// <param name="PublicKeys">Keys by which it signs its assertions (<c>private_key_jwt</c>), as a JSON Web Key Set; without them it gets a secret.</param>
/// <param name="Id">Its identifier: 3 to 64 small letters, digits and hyphens. Not asked for where the path names it.</param>
internal sealed record ClientRequest(string Name, IReadOnlyList<string> Roles, IReadOnlyList<string>? Communes = null, JsonElement? PublicKeys = null, string? Id = null);

/// <summary>Why something is done.</summary>
internal sealed record Reasoned(string Reason);

/// <summary>A client as it is shown.</summary>
internal sealed record ClientShown(string Id, string? Name, IReadOnlyList<string> Roles, IReadOnlyList<string> Communes, bool Suspended, string Authentication);

/// <summary>A client that was made, or has a new secret: shown this once and kept as a hash.</summary>
internal sealed record ClientSecret(string Id, string? Secret);

/// <summary>Clients: software that comes with a token of its own.</summary>
internal static partial class ClientsAdmin
{
    public static void Map(IEndpointRouteBuilder api)
    {
        var clients = api.MapGroup("access/clients").RequireAuthorization(Rules.Administer);
        clients.MapGet("", ListAsync).WithName("Clients").WithSummary("Clients, and what they may be");
        clients.MapPost("", CreateAsync).WithName("ClientCreate").WithSummary("A new client; its secret is told once");
        clients.MapGet("{id}", ShowAsync).WithName("Client").WithSummary("One of them");
        clients.MapPut("{id}", ChangeAsync).WithName("ClientChange").WithSummary("Its name, roles, communes, and keys");
        clients.MapPost("{id}/secret", RenewAsync).WithName("ClientSecret").WithSummary("A new secret; the old one ends at once");
        clients.MapPost("{id}/suspension", SuspendAsync).WithName("ClientSuspend").WithSummary("It gets no token, and those it has are refused");
        clients.MapDelete("{id}/suspension", ResumeAsync).WithName("ClientResume").WithSummary("It may come in again");
        clients.MapDelete("{id}", DeleteAsync).WithName("ClientDelete").WithSummary("It is forgotten; the audit remembers");
    }

    /// <summary>Makes a client.</summary>
    /// <returns>Its secret, unless it has keys.</returns>
    public static async Task<string?> MakeAsync(IOpenIddictApplicationManager applications, string id, ClientRequest asked, CancellationToken cancellation)
    {
        var secret = asked.PublicKeys is null ? NewSecret() : null;
        var descriptor = new OpenIddictApplicationDescriptor { ClientId = id, ClientSecret = secret };
        Describe(descriptor, asked);
        await applications.CreateAsync(descriptor, cancellation);
        return secret;
    }

    /// <summary>What is wrong with roles and communes.</summary>
    public static IEnumerable<FieldError> Check(IReadOnlyList<string> roles, IReadOnlyList<string> communes, Epci territory)
    {
        if (roles.Count == 0) yield return new("roles", $"one or several of {string.Join(", ", Roles.All.Order(StringComparer.Ordinal))} expected");
        for (var index = 0; index < roles.Count; index++)
        {
            if (!Roles.All.Contains(roles[index])) yield return new($"roles.{index}", $"one of {string.Join(", ", Roles.All.Order(StringComparer.Ordinal))} expected");
        }

        for (var index = 0; index < communes.Count; index++)
        {
            if (!CommuneCode.TryParse(communes[index], out var code) || territory.Member(code) is null)
                yield return new($"communes.{index}", $"the INSEE code of a commune of {territory.Name} expected");
        }

        var ofCommunes = roles.Where(Roles.OfCommunes.Contains).ToList();
        if (ofCommunes.Count > 0 && communes.Count == 0) yield return new("communes", $"required for {string.Join(", ", ofCommunes)}");
        if (ofCommunes.Count == 0 && communes.Count > 0) yield return new("communes", $"only for {string.Join(", ", Roles.OfCommunes.Order(StringComparer.Ordinal))}");
    }

    private static async Task<IResult> ListAsync(IOpenIddictApplicationManager applications, CancellationToken cancellation)
    {
        var items = new List<ClientShown>();
        await foreach (var application in applications.ListAsync(cancellationToken: cancellation)) items.Add(await ShownAsync(applications, application, cancellation));
        return TypedResults.Ok(new { items = items.OrderBy(client => client.Id, StringComparer.Ordinal) });
    }

    private static async Task<IResult> ShowAsync(string id, IOpenIddictApplicationManager applications, CancellationToken cancellation) =>
        await applications.FindByClientIdAsync(id, cancellation) is { } application ? TypedResults.Ok(await ShownAsync(applications, application, cancellation)) : NotKnown();

    private static async Task<IResult> CreateAsync(
        HttpContext context, IOpenIddictApplicationManager applications, Epci territory, RightsChanges changes, CancellationToken cancellation)
    {
        var (asked, problem) = await Body.ReadAsync<ClientRequest>(context.Request);
        if (asked is null) return problem!;
        var errors = Check(asked, territory).ToList();
        if (asked.Id is null || !Identifier().IsMatch(asked.Id)) errors.Insert(0, new("id", "3 to 64 small letters, digits and hyphens expected"));
        if (errors.Count > 0) return Body.Unprocessable(errors);
        return await changes.MakeAsync(async () =>
        {
            if (await applications.FindByClientIdAsync(asked.Id!, cancellation) is not null)
                return TypedResults.Problem(title: "There is one already", detail: "A client of this id is known. Change it, or choose another id.", statusCode: StatusCodes.Status409Conflict);
            var secret = await MakeAsync(applications, asked.Id!, asked, cancellation);
            await changes.NoteAsync(context, "access.client-created", asked.Id!, null, Rights(asked));
            return TypedResults.Created($"{context.Request.Path}/{asked.Id}", new ClientSecret(asked.Id!, secret));
        }, cancellation);
    }

    private static async Task<IResult> ChangeAsync(
        string id, HttpContext context, IOpenIddictApplicationManager applications, Epci territory, RightsChanges changes, CancellationToken cancellation)
    {
        var (asked, problem) = await Body.ReadAsync<ClientRequest>(context.Request);
        if (asked is null) return problem!;
        var errors = Check(asked, territory).ToList();
        if (asked.Id is not null && asked.Id != id) errors.Insert(0, new("id", "cannot be changed"));
        if (errors.Count > 0) return Body.Unprocessable(errors);
        return await changes.MakeAsync(async () =>
        {
            if (await applications.FindByClientIdAsync(id, cancellation) is not { } application) return NotKnown();
            var before = await ShownAsync(applications, application, cancellation);
            if (before.Roles.Contains(Roles.Administrator) && !asked.Roles.Contains(Roles.Administrator) && await IsLastAsync(applications, id, cancellation)) return Last();
            if (asked.PublicKeys is null && before.Authentication == KeyAuthentication) asked = asked with { PublicKeys = JsonSerializer.SerializeToElement(await applications.GetJsonWebKeySetAsync(application, cancellation)) };
            var descriptor = new OpenIddictApplicationDescriptor();
            await applications.PopulateAsync(descriptor, application, cancellation);
            Describe(descriptor, asked, before.Suspended);
            if (descriptor.JsonWebKeySet is not null) descriptor.ClientSecret = null;
            await applications.UpdateAsync(application, descriptor, cancellation);
            await changes.NoteAsync(context, "access.client-changed", id, null, Rights(asked));
            return TypedResults.Ok(await ShownAsync(applications, application, cancellation));
        }, cancellation);
    }

    private static Task<IResult> RenewAsync(string id, HttpContext context, IOpenIddictApplicationManager applications, RightsChanges changes, CancellationToken cancellation) =>
        changes.MakeAsync(async () =>
        {
            if (await applications.FindByClientIdAsync(id, cancellation) is not { } application) return NotKnown();
            if (await applications.GetJsonWebKeySetAsync(application, cancellation) is not null)
            {
                return TypedResults.Problem(
                    title: "It has no secret", detail: "The client signs with a key of its own: change its publicKeys.", statusCode: StatusCodes.Status409Conflict);
            }

            var secret = NewSecret();
            await applications.UpdateAsync(application, secret, cancellation);
            await changes.NoteAsync(context, "access.client-secret-renewed", id);
            return TypedResults.Ok(new ClientSecret(id, secret));
        }, cancellation);

    private static Task<IResult> SuspendAsync(string id, HttpContext context, IOpenIddictApplicationManager applications, RightsChanges changes, CancellationToken cancellation) =>
        SetSuspendedAsync(id, suspended: true, context, applications, changes, cancellation);

    private static Task<IResult> ResumeAsync(string id, HttpContext context, IOpenIddictApplicationManager applications, RightsChanges changes, CancellationToken cancellation) =>
        SetSuspendedAsync(id, suspended: false, context, applications, changes, cancellation);

    private static async Task<IResult> SetSuspendedAsync(
        string id, bool suspended, HttpContext context, IOpenIddictApplicationManager applications, RightsChanges changes, CancellationToken cancellation)
    {
        string? reason = null;
        if (suspended)
        {
            var (given, problem) = await Body.ReadAsync<Reasoned>(context.Request);
            if (given is null) return problem!;
            if (string.IsNullOrWhiteSpace(given.Reason)) return Body.Unprocessable("reason", "required");
            reason = given.Reason;
        }

        return await changes.MakeAsync(async () =>
        {
            if (await applications.FindByClientIdAsync(id, cancellation) is not { } application) return NotKnown();
            var shown = await ShownAsync(applications, application, cancellation);
            if (suspended && shown.Roles.Contains(Roles.Administrator) && await IsLastAsync(applications, id, cancellation)) return Last();
            var descriptor = new OpenIddictApplicationDescriptor();
            await applications.PopulateAsync(descriptor, application, cancellation);
            new Client(shown.Roles, shown.Communes, suspended).Into(descriptor.Properties);
            await applications.UpdateAsync(application, descriptor, cancellation);
            await changes.NoteAsync(context, suspended ? "access.client-suspended" : "access.client-resumed", id, reason);
            return TypedResults.Ok(shown with { Suspended = suspended });
        }, cancellation);
    }

    private static Task<IResult> DeleteAsync(string id, HttpContext context, IOpenIddictApplicationManager applications, RightsChanges changes, CancellationToken cancellation) =>
        changes.MakeAsync(async () =>
        {
            if (await applications.FindByClientIdAsync(id, cancellation) is not { } application) return NotKnown();
            if ((await ShownAsync(applications, application, cancellation)).Roles.Contains(Roles.Administrator) && await IsLastAsync(applications, id, cancellation)) return Last();
            await applications.DeleteAsync(application, cancellation);
            await changes.NoteAsync(context, "access.client-deleted", id);
            return TypedResults.NoContent();
        }, cancellation);

    private const string KeyAuthentication = ClientAuthenticationMethods.PrivateKeyJwt;

    private static async Task<ClientShown> ShownAsync(IOpenIddictApplicationManager applications, object application, CancellationToken cancellation)
    {
        var client = Client.Of(await applications.GetPropertiesAsync(application, cancellation));
        return new(
            (await applications.GetClientIdAsync(application, cancellation))!, await applications.GetDisplayNameAsync(application, cancellation),
            client?.Roles ?? [], client?.Communes ?? [], client?.Suspended ?? true,
            await applications.GetJsonWebKeySetAsync(application, cancellation) is null ? "client_secret" : KeyAuthentication);
    }

    private static IEnumerable<FieldError> Check(ClientRequest asked, Epci territory)
    {
        if (asked.Name.Trim() is not { Length: >= 1 and <= 200 }) yield return new("name", "1 to 200 characters expected");
        foreach (var error in Check(asked.Roles, asked.Communes ?? [], territory)) yield return error;
        if (asked.PublicKeys is { } keys && Keys(keys) is null) yield return new("publicKeys", "a JSON Web Key Set with public RSA or EC keys alone expected");
    }

    private static JsonWebKeySet? Keys(JsonElement json)
    {
        try
        {
            var keys = JsonWebKeySet.Create(json.GetRawText());
            return keys.Keys.Count > 0 && keys.Keys.All(key => !key.HasPrivateKey && key.Kty is JsonWebAlgorithmsKeyTypes.RSA or JsonWebAlgorithmsKeyTypes.EllipticCurve) ? keys : null;
        }
        catch (ArgumentException)
        {
            return null;
        }
    }

    private static void Describe(OpenIddictApplicationDescriptor descriptor, ClientRequest asked, bool suspended = false)
    {
        descriptor.ClientType = ClientTypes.Confidential;
        descriptor.DisplayName = asked.Name.Trim();
        descriptor.JsonWebKeySet = asked.PublicKeys is { } keys ? Keys(keys) : null;
        descriptor.Permissions.UnionWith([Permissions.Endpoints.Token, Permissions.GrantTypes.ClientCredentials]);
        new Client([.. asked.Roles.Distinct()], [.. (asked.Communes ?? []).Distinct()], suspended).Into(descriptor.Properties);
    }

    private static async Task<bool> IsLastAsync(IOpenIddictApplicationManager applications, string id, CancellationToken cancellation)
    {
        await foreach (var other in applications.ListAsync(cancellationToken: cancellation))
        {
            if (await applications.GetClientIdAsync(other, cancellation) != id
                && Client.Of(await applications.GetPropertiesAsync(other, cancellation)) is { Suspended: false } client && client.Roles.Contains(Roles.Administrator)) return false;
        }

        return true;
    }

    private static JsonObject Rights(ClientRequest asked) => new()
    {
        ["roles"] = JsonSerializer.SerializeToNode(asked.Roles),
        ["communes"] = JsonSerializer.SerializeToNode(asked.Communes ?? []),
    };

    // 256 bits, in letters that need no quoting anywhere.
    private static string NewSecret() => Convert.ToHexStringLower(System.Security.Cryptography.RandomNumberGenerator.GetBytes(32));

    private static ProblemHttpResult NotKnown() => TypedResults.Problem(
        title: "Client not known", detail: "No client has that id.", statusCode: StatusCodes.Status404NotFound);

    private static ProblemHttpResult Last() => TypedResults.Problem(
        title: "The last administrator", detail: "Nobody could administer the hub any more. Make another administrator first.", statusCode: StatusCodes.Status409Conflict);

    [GeneratedRegex("^[a-z0-9][a-z0-9-]{1,62}[a-z0-9]$", RegexOptions.CultureInvariant)]
    private static partial Regex Identifier();
}
