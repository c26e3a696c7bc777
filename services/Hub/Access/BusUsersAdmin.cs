using System.Security.Claims;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Territories;
using Intercommunalite.Hub.Ingestion;
using Intercommunalite.ServiceDefaults.Access;
using Marten;

namespace Intercommunalite.Hub.Access;

/// <summary><c>access/bus-users</c>: the broker users of connectors, as an administrator makes and removes them.</summary>
internal static class BusUsersAdmin
{
    private const string Path = "access/bus-users";

    public static void Add(WebApplicationBuilder builder)
    {
        builder.Services.ConfigureMarten(options => options.Storage.ExtendedSchemaObjects.Add(BusUsers.Schema()));
        builder.Services.AddSingleton<Broker>();
        builder.Services.AddSingleton<BusUsers>();
        builder.Services.AddHostedService(services => services.GetRequiredService<BusUsers>());
    }

    public static void Map(RouteGroupBuilder api)
    {
        var users = api.MapGroup(Path).RequireAuthorization(Rules.Administer);
        users.MapGet("", ListAsync).WithName("BusUsers").WithSummary("The broker users of connectors, and how many messages each sent that it may not send");
        users.MapPost("", SetAsync)
            .Accepts<Wanted>("application/json")
            .WithName("SetBusUser").WithSummary("Makes a broker user, or gives it other communes; its password is in this answer and nowhere else");
        users.MapDelete("{name}", RemoveAsync).WithName("RemoveBusUser").WithSummary("Takes a broker user's rights away and closes its connections");
    }

    private static async Task<IResult> ListAsync(BusUsers users, Broker broker, Quarantine quarantine, CancellationToken cancellation)
    {
        var refused = await quarantine.OfSendersAsync(cancellation);
        var all = await users.AllAsync(cancellation);
        return TypedResults.Ok(new
        {
            managed = broker.IsManaged,
            items = all.Select(user => new { user.Name, user.Communes, user.CreatedAt, refused = refused.GetValueOrDefault(user.Name) }),
            // Others that sent something; those that did not say who they are have no name.
            unknown = refused.Where(sender => all.All(user => user.Name != sender.Key)).OrderBy(sender => sender.Key, StringComparer.Ordinal)
                .Select(sender => new { name = sender.Key, refused = sender.Value }),
        });
    }

    private static async Task<IResult> SetAsync(HttpRequest request, BusUsers users, Broker broker, Epci territory, ClaimsPrincipal caller, CancellationToken cancellation)
    {
        var (wanted, problem) = await Body.ReadAsync<Wanted>(request);
        if (wanted is null) return problem!;
        var errors = new List<FieldError>();
        if (!BusUsers.IsName(wanted.Name)) errors.Add(new("name", $"1 to {BusUsers.LongestName} of a-z, 0-9 and hyphens expected, a letter or digit first"));
        if (wanted.Communes is null or { Count: 0 }) errors.Add(new("communes", "the INSEE codes of one or more communes expected"));
        foreach (var (code, index) in (wanted.Communes ?? []).Select((code, index) => (code, index)))
        {
            if (!CommuneCode.TryParse(code, out var commune) || territory.Member(commune) is null || commune.ToString() != code)
                errors.Add(new($"communes[{index}]", $"the INSEE code of a commune of {territory.Name} expected"));
        }

        if (errors.Count > 0) return Body.Unprocessable(errors);
        BusUserChange change;
        try
        {
            change = await users.SetAsync(wanted.Name, wanted.Communes!, wanted.NewPassword, Caller.Of(caller).Id, cancellation);
        }
        catch (Exception e) when (e is HttpRequestException or TaskCanceledException && !cancellation.IsCancellationRequested)
        {
            return TypedResults.Problem(
                title: "Broker not reached",
                detail: "The broker's management API (ConnectionStrings__BusManagement) does not answer as it should, so it is not known whether the name is free. Nothing was changed; try again.",
                statusCode: StatusCodes.Status503ServiceUnavailable);
        }

        if (change.User is not { } user) return TypedResults.Problem(title: "Not to be had", detail: change.Conflict, statusCode: StatusCodes.Status409Conflict);
        var faults = await users.ApplyAsync(cancellation);
        var answer = new
        {
            user.Name,
            user.Communes,
            user.CreatedAt,
            change.Password,
            settings = broker.Settings(user, change.Password),
            commands = broker.IsManaged ? null : broker.Commands(user),
            onBroker = broker.IsManaged ? IsDone(faults, user.Name) : (bool?)null,
        };
        return change.Created ? TypedResults.Created((string?)null, answer) : TypedResults.Ok(answer);
    }

    private static async Task<IResult> RemoveAsync(string name, BusUsers users, Broker broker, ClaimsPrincipal caller, CancellationToken cancellation)
    {
        if (!BusUsers.IsName(name) || !await users.RemoveAsync(name, Caller.Of(caller).Id, cancellation))
            return TypedResults.Problem(title: "No such broker user", detail: "GET access/bus-users lists those that there are.", statusCode: StatusCodes.Status404NotFound);
        var faults = await users.ApplyAsync(cancellation);
        return TypedResults.Ok(new { name, commands = broker.IsManaged ? null : Broker.RemovalCommands(name), offBroker = broker.IsManaged ? IsDone(faults, name) : (bool?)null });
    }

    private static bool IsDone(IReadOnlyList<BrokerFault> faults, string name) => faults.All(fault => fault.User is not null && fault.User != name);

    private sealed record Wanted(string Name, IReadOnlyList<string>? Communes, bool NewPassword = false);
}
