using System.Security.Claims;
using Grpc.Core;
using Intercommunalite.Contracts;
using Intercommunalite.Hub.Access;
using Intercommunalite.Hub.Agreements;
using Intercommunalite.Hub.EventStore;
using Intercommunalite.ServiceDefaults.Access;

namespace Intercommunalite.Hub.Feeds;

/// <summary>Whoever reads: the caller of a stream, or the client to whom the hub delivers by itself.</summary>
/// <param name="Id">The client.</param>
/// <param name="IsAdministrator">Whether it reads without an agreement when it names none.</param>
/// <param name="StillMayAsync">Whether it still is what it was when it began; to be asked at least twice a second.</param>
internal sealed record Reader(string Id, bool IsAdministrator, Func<CancellationToken, ValueTask<bool>> StillMayAsync)
{
    /// <summary>A caller, for as long as its token and its rights last.</summary>
    public static Reader Of(ClaimsPrincipal user, CurrentRights rights)
    {
        var caller = Caller.Of(user);
        return new(caller.Id, caller.Is(Roles.Administrator), cancellation => rights.StillHoldAsync(user, cancellation));
    }

    /// <summary>A client without a call of its own, for as long as it has its role.</summary>
    public static Reader OfClient(string id, bool isAdministrator, CurrentRights rights) =>
        new(id, isAdministrator, cancellation => rights.StillMayAsync(id, isAdministrator ? Roles.Administrator : Roles.Partner, cancellation));
}

/// <summary>What may be read now.</summary>
/// <param name="Types">Names of the types of events; null for all.</param>
/// <param name="Communes">INSEE codes; null for all.</param>
/// <param name="Agreement">The agreement under which; null for whoever administers the hub.</param>
internal sealed record Allowed(string[]? Types, string[]? Communes, AgreementInForce? Agreement);

/// <summary>
/// Who reads the feed, and what of it. Asked again for every page, since a token expires and an agreement can be suspended, changed
/// or ended at any time.
/// </summary>
/// <param name="reader">Who reads.</param>
/// <param name="named">The agreement named, or empty.</param>
/// <param name="filter">What is asked for.</param>
/// <param name="inForce">The agreements.</param>
internal sealed class FeedAccess(Reader reader, string named, FeedFilter filter, AgreementsInForce inForce)
{
    private const string WhatToDo = "GET /api/v1/agreements lists yours; ask the territory's administrator.";

    private string _agreement = named;
    private Allowed? _last;

    /// <summary>Whom it is given to.</summary>
    public string Who => reader.Id;

    /// <summary>What is asked for.</summary>
    public FeedFilter Filter => filter;

    /// <summary>Done when what is allowed may have changed.</summary>
    public Task Changed => inForce.Changed;

    /// <summary>Whether nobody was forgotten since the epoch under which personal data was read.</summary>
    public bool IsNobodyForgottenSince(long epoch) => inForce.Epoch <= epoch;

    /// <summary>Whether what was allowed a moment ago is known to be so still.</summary>
    public bool IsKnown => _last is { Agreement: null } || inForce.IsCurrent;

    /// <summary>What may be read now.</summary>
    /// <exception cref="RpcException">Nothing may: the status says why, and what to do.</exception>
    public async ValueTask<Allowed> NowAsync(CancellationToken cancellation)
    {
        if (!await reader.StillMayAsync(cancellation))
            throw Error(StatusCode.Unauthenticated, "The token has expired, or the client was suspended. Get a new token and go on from the last cursor.");
        if (_agreement.Length == 0 && reader.IsAdministrator) return _last ??= new(AskedTypes(), AskedCommunes(), null);
        if (!inForce.IsCurrent) throw Error(StatusCode.Unavailable, "The agreements in force cannot be looked up now. Try again.");
        var (agreement, last) = (Find(), _last);
        return last?.Agreement == agreement ? last : _last = Within(agreement);
    }

    private AgreementInForce Find()
    {
        var mine = inForce.Of(reader.Id);
        var found = _agreement.Length > 0 ? mine.FirstOrDefault(agreement => agreement.Id == _agreement)
            : mine.Count > 1 ? throw Error(StatusCode.InvalidArgument, $"agreement: several are in force, name the one under which you read: {string.Join(", ", mine.Select(agreement => agreement.Id))}.")
            : mine is [var only] ? only : null;
        if (found is null)
        {
            throw Error(StatusCode.PermissionDenied, _agreement.Length > 0
                ? $"agreement: no agreement of this id is in force for {reader.Id}; it may be suspended or have ended. {WhatToDo}"
                : $"No agreement is in force for {reader.Id}. {WhatToDo}");
        }

        // A stream that has begun under one goes on under this one, or not at all.
        _agreement = found.Id;
        return found;
    }

    private Allowed Within(AgreementInForce agreement)
    {
        var communes = agreement.Communes;
        foreach (var commune in filter.Communes)
        {
            if (communes?.Contains(commune) == false) throw Error(StatusCode.PermissionDenied, $"filter.communes: agreement {agreement.Id} does not allow {commune}. {WhatToDo}");
        }

        foreach (var type in filter.Types)
        {
            if (!TypePattern.Types(type).Any(asked => agreement.Types.Contains(asked.Name)))
                throw Error(StatusCode.PermissionDenied, $"filter.types: agreement {agreement.Id} does not allow {type}. {WhatToDo}");
        }

        var types = AskedTypes()?.Intersect(agreement.Types).ToArray() ?? [.. agreement.Types];
        foreach (var fact in filter.Facts)
        {
            if (!types.Any(type => agreement.AllowsField(type, fact.Field)))
                throw Error(StatusCode.PermissionDenied, $"filter.facts: agreement {agreement.Id} does not allow {fact.Field}. {WhatToDo}");
        }

        // Of a type of which a fact is withheld nothing is even looked for: where a page ends would tell what it is.
        if (filter.Facts.Length > 0) types = [.. types.Where(type => filter.Facts.All(fact => agreement.AllowsField(type, fact.Field)))];

        return new(types.Length == Catalogue.All.Count ? null : types, AskedCommunes() ?? communes?.ToArray(), agreement);
    }

    private string[]? AskedTypes() => filter.Types.Length == 0 ? null : [.. filter.AskedTypes().Select(type => type.Name)];

    private string[]? AskedCommunes() => filter.Communes.Length == 0 ? null : filter.Communes;

    private static RpcException Error(StatusCode status, string detail) => new(new Status(status, detail));
}
