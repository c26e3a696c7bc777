using System.Security.Claims;
using Grpc.Core;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Feed.V1;
using Intercommunalite.Hub.Access;
using Intercommunalite.Hub.Agreements;
using Intercommunalite.Hub.EventStore;
using Intercommunalite.ServiceDefaults.Access;

namespace Intercommunalite.Hub.Feeds;

/// <summary>What may be read now.</summary>
/// <param name="Types">Names of the types of events; null for all.</param>
/// <param name="Communes">INSEE codes; null for all.</param>
/// <param name="Agreement">The agreement under which; null for whoever administers the hub.</param>
internal sealed record Allowed(string[]? Types, string[]? Communes, AgreementInForce? Agreement);

/// <summary>
/// Who reads the feed, and what of it. Asked again for every page, since a token expires and an agreement can be suspended, changed
/// or ended at any time.
/// </summary>
internal sealed class FeedAccess
{
    private const string WhatToDo = "GET /api/v1/agreements lists yours; ask the territory's administrator.";

    private readonly AgreementsInForce _inForce;
    private readonly CurrentRights _rights;
    private readonly ClaimsPrincipal _user;
    private readonly Caller _caller;
    private readonly Filter _filter;
    private string _agreement;
    private Allowed? _last;

    /// <summary>Whoever calls.</summary>
    /// <param name="user">The caller, authenticated.</param>
    /// <param name="agreement">The agreement named, or empty.</param>
    /// <param name="filter">What is asked for.</param>
    /// <param name="inForce">The agreements.</param>
    /// <param name="rights">What clients may be by now.</param>
    /// <exception cref="RpcException">The filter has a wrong form.</exception>
    public FeedAccess(ClaimsPrincipal user, string agreement, Filter? filter, AgreementsInForce inForce, CurrentRights rights)
    {
        (_inForce, _rights, _user, _agreement, _filter) = (inForce, rights, user, agreement, filter ?? new Filter());
        _caller = Caller.Of(user);
        if (!_filter.Types_.All(type => TypePattern.TryParse(type, out _))) throw Error(StatusCode.InvalidArgument, $"filter.types: {TypePattern.Form}.");
        if (!_filter.Communes.All(commune => CommuneCode.TryParse(commune, out _))) throw Error(StatusCode.InvalidArgument, "filter.communes: INSEE commune codes expected.");
    }

    /// <summary>Whom it is given to.</summary>
    public string Who => _caller.Id;

    /// <summary>Done when what is allowed may have changed.</summary>
    public Task Changed => _inForce.Changed;

    /// <summary>Whether nobody was forgotten since the epoch under which personal data was read.</summary>
    public bool IsNobodyForgottenSince(long epoch) => _inForce.Epoch <= epoch;

    /// <summary>Whether what was allowed a moment ago is known to be so still.</summary>
    public bool IsKnown => _last is { Agreement: null } || _inForce.IsCurrent;

    /// <summary>What may be read now.</summary>
    /// <exception cref="RpcException">Nothing may: the status says why, and what to do.</exception>
    public async ValueTask<Allowed> NowAsync(CancellationToken cancellation)
    {
        if (!await _rights.StillHoldAsync(_user, cancellation))
            throw Error(StatusCode.Unauthenticated, "The token has expired, or the client was suspended. Get a new token and go on from the last cursor.");
        if (_agreement.Length == 0 && _caller.Is(Roles.Administrator)) return _last ??= new(AskedTypes(), AskedCommunes(), null);
        if (!_inForce.IsCurrent) throw Error(StatusCode.Unavailable, "The agreements in force cannot be looked up now. Try again.");
        var (agreement, last) = (Find(), _last);
        return last?.Agreement == agreement ? last : _last = Within(agreement);
    }

    private AgreementInForce Find()
    {
        var inForce = _inForce.Of(_caller.Id);
        var found = _agreement.Length > 0 ? inForce.FirstOrDefault(agreement => agreement.Id == _agreement)
            : inForce.Count > 1 ? throw Error(StatusCode.InvalidArgument, $"agreement: several are in force, name the one under which you read: {string.Join(", ", inForce.Select(agreement => agreement.Id))}.")
            : inForce is [var only] ? only : null;
        if (found is null)
        {
            throw Error(StatusCode.PermissionDenied, _agreement.Length > 0
                ? $"agreement: no agreement of this id is in force for {_caller.Id}; it may be suspended or have ended. {WhatToDo}"
                : $"No agreement is in force for {_caller.Id}. {WhatToDo}");
        }

        // A stream that has begun under one goes on under this one, or not at all.
        _agreement = found.Id;
        return found;
    }

    private Allowed Within(AgreementInForce agreement)
    {
        var communes = agreement.Communes;
        foreach (var commune in _filter.Communes)
        {
            if (communes?.Contains(commune) == false) throw Error(StatusCode.PermissionDenied, $"filter.communes: agreement {agreement.Id} does not allow {commune}. {WhatToDo}");
        }

        foreach (var type in _filter.Types_)
        {
            if (!TypePattern.Types(type).Any(asked => agreement.Types.Contains(asked.Name)))
                throw Error(StatusCode.PermissionDenied, $"filter.types: agreement {agreement.Id} does not allow {type}. {WhatToDo}");
        }

        var types = AskedTypes()?.Intersect(agreement.Types).ToArray() ?? [.. agreement.Types];
        return new(types.Length == Catalogue.All.Count ? null : types, AskedCommunes() ?? communes?.ToArray(), agreement);
    }

    private string[]? AskedTypes() => _filter.Types_.Count == 0 ? null : [.. _filter.Types_.SelectMany(TypePattern.Types).Select(type => type.Name).Distinct()];

    private string[]? AskedCommunes() => _filter.Communes.Count == 0 ? null : [.. _filter.Communes];

    private static RpcException Error(StatusCode status, string detail) => new(new Status(status, detail));
}
