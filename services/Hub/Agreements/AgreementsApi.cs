using System.ComponentModel;
using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Territories;
using Intercommunalite.Hub.Access;
using Intercommunalite.Hub.Territory;
using Intercommunalite.ServiceDefaults.Access;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.Net.Http.Headers;

namespace Intercommunalite.Hub.Agreements;

/// <summary>
/// <c>agreements</c>: made and changed by administrators, read by them and the data-protection officer. A partner reads its own,
/// as far as they were ever in force.
/// </summary>
internal static class AgreementsApi
{
    public static void Map(RouteGroupBuilder api)
    {
        var agreements = api.MapGroup("agreements");
        agreements.MapGet("", ListAsync).RequireAuthorization(Rules.ReadAgreements)
            .WithName("Agreements").WithSummary("The agreements; with asOf (a time), only those that were in force then, as they were");
        agreements.MapGet("{id}", ShowAsync).RequireAuthorization(Rules.ReadAgreements)
            .WithName("Agreement").WithSummary("An agreement with its versions and acts, now or asOf a time; its ETag is its revision");
        agreements.MapPost("", PostAsync).RequireAuthorization(Rules.ManageAgreements)
            .WithName("DraftAgreement").WithSummary("Drafts an agreement; without an id it gets one");
        agreements.MapPut("{id}", PutAsync).RequireAuthorization(Rules.ManageAgreements)
            .WithName("RedraftAgreement").WithSummary("Drafts a new version; the one in force stays so until the new one is activated. Needs If-Match");
        Act("activation", "ActivateAgreement", "Puts the version drafted last into force; from its first day on it stands in place of the one before", (agreement, request, act) => Decide.Activate(agreement, request.Version, act));
        Act("suspension", "SuspendAgreement", "Suspends it: its feeds end within a second", (agreement, _, act) => Decide.Suspend(agreement, act));
        Act("resumption", "ResumeAgreement", "Puts it into force again", (agreement, _, act) => Decide.Resume(agreement, act));
        Act("end", "EndAgreement", "Ends it for good: its feeds end within a second", (agreement, _, act) => Decide.End(agreement, act));

        void Act(string path, string name, string summary, Func<Agreement, ActRequest, Act, Decision> decide) => agreements.MapPost($"{{id}}/{path}", (
                string id, HttpContext context, AgreementStore store, TerritoryClock clock) => ActAsync(id, context, store, clock, decide))
            .RequireAuthorization(Rules.ManageAgreements).WithName(name).WithSummary(summary);
    }

    private static async Task<IResult> ListAsync(
        HttpContext context, AgreementStore store, TerritoryClock clock, [Description("A time, RFC 3339")] string? asOf = null)
    {
        if (!TryTime(asOf, out var time)) return Unclear("asOf");
        var all = await store.AllAsync(context.RequestAborted);
        var day = clock.DayOf(time ?? clock.Now);
        if (time is { } then) all = [.. all.Select(agreement => agreement.AsOf(then)).OfType<Agreement>().Where(agreement => agreement.IsInForceOn(day))];
        var caller = Caller.Of(context.User);
        return TypedResults.Json(new { items = all.Where(agreement => MayRead(caller, agreement, day)).Select(agreement => AgreementSummary.Of(agreement, day)) }, ContractJson.Options);
    }

    private static async Task<IResult> ShowAsync(
        string id, HttpContext context, AgreementStore store, TerritoryClock clock, [Description("A time, RFC 3339")] string? asOf = null)
    {
        if (!TryTime(asOf, out var time)) return Unclear("asOf");
        var agreement = await store.FindAsync(id, context.RequestAborted);
        if (time is { } then) agreement = agreement?.AsOf(then);
        var (caller, day) = (Caller.Of(context.User), clock.DayOf(time ?? clock.Now));
        if (agreement is null || !MayRead(caller, agreement, day)) return Unknown();
        return Shown(context, agreement, day, isPartner: !MayReadAll(caller));
    }

    private static async Task<IResult> PostAsync(HttpContext context, AgreementStore store, Epci territory, TerritoryClock clock)
    {
        var (draft, wrong) = await ReadDraftAsync(context.Request, territory);
        if (draft is null) return wrong!;
        var id = draft.Id?.ToString() ?? $"agreement-{RandomNumberGenerator.GetHexString(8, lowercase: true)}";
        var (agreement, refused) = await store.ChangeAsync(
            id, Caller.Of(context.User).Id, draft.Reason,
            (there, act) => there is not null ? "There is an agreement of this id. Draft a new version of it (PUT), or use another id." : Decide.Draft(null, draft.Terms, act),
            context.RequestAborted);
        if (refused is not null) return Refused(refused);
        context.Response.Headers.Location = $"/api/v1/agreements/{id}";
        context.Response.StatusCode = StatusCodes.Status201Created;
        return Shown(context, agreement!, clock.Today, isPartner: false);
    }

    private static async Task<IResult> PutAsync(string id, HttpContext context, AgreementStore store, Epci territory, TerritoryClock clock)
    {
        var (draft, wrong) = await ReadDraftAsync(context.Request, territory);
        if (draft is null) return wrong!;
        if (draft.Id is { } named && named.ToString() != id) return Body.Unprocessable("id", "the id in the address, or none, expected");
        if (context.Request.Headers.IfMatch.Count == 0)
        {
            return TypedResults.Problem(
                title: "Which one was read?",
                detail: "Send the ETag of the agreement that the new version is made from as If-Match, so that no change of somebody else is overwritten.",
                statusCode: StatusCodes.Status428PreconditionRequired);
        }

        return await ChangeAsync(id, context, store, clock, draft.Reason, (agreement, act) => Decide.Draft(agreement, draft.Terms, act));
    }

    private static async Task<IResult> ActAsync(
        string id, HttpContext context, AgreementStore store, TerritoryClock clock, Func<Agreement, ActRequest, Act, Decision> decide)
    {
        var (request, wrong) = await Body.ReadAsync<ActRequest>(context.Request);
        if (request is null) return wrong!;
        return await ChangeAsync(id, context, store, clock, request.Reason, (agreement, act) => decide(agreement, request, act));
    }

    private static async Task<IResult> ChangeAsync(
        string id, HttpContext context, AgreementStore store, TerritoryClock clock, string? why, Func<Agreement, Act, Decision> decide)
    {
        var outdated = false;
        var (agreement, refused) = await store.ChangeAsync(
            id, Caller.Of(context.User).Id, why,
            (there, act) =>
            {
                if (there is null) return "";
                outdated = !Matches(context.Request, there);
                return outdated ? "" : decide(there, act);
            },
            context.RequestAborted);
        if (agreement is null) return Unknown();
        if (outdated)
        {
            return TypedResults.Problem(
                title: "Changed meanwhile",
                detail: $"The agreement is at revision {agreement.Revision}, not at the one that If-Match names. Read it again, then decide.",
                statusCode: StatusCodes.Status412PreconditionFailed);
        }

        return refused is null ? Shown(context, agreement, clock.Today, isPartner: false) : Refused(refused);
    }

    private static async Task<(DraftRequest? Draft, ProblemHttpResult? Wrong)> ReadDraftAsync(HttpRequest request, Epci territory)
    {
        var (draft, wrong) = await Body.ReadAsync<DraftRequest>(request);
        if (draft is null) return (null, wrong);
        var errors = draft.Terms.Check(territory).Select(error => error with { Field = $"terms.{error.Field}" }).ToList();
        return errors.Count == 0 ? (draft, null) : (null, Body.Unprocessable(errors));
    }

    private static bool Matches(HttpRequest request, Agreement agreement) =>
        request.Headers.IfMatch.Count == 0
        || request.GetTypedHeaders().IfMatch.Any(tag => tag.Equals(EntityTagHeaderValue.Any) || tag.Compare(Tag(agreement), useStrongComparison: true));

    private static EntityTagHeaderValue Tag(Agreement agreement) => new($"\"{agreement.Revision.ToString(CultureInfo.InvariantCulture)}\"");

    private static JsonHttpResult<AgreementView> Shown(HttpContext context, Agreement agreement, DateOnly day, bool isPartner)
    {
        context.Response.GetTypedHeaders().ETag = Tag(agreement);
        return TypedResults.Json(AgreementView.Of(agreement, day, isPartner), ContractJson.Options, statusCode: context.Response.StatusCode);
    }

    private static bool MayReadAll(Caller caller) => caller.Is(Roles.Administrator, Roles.DataProtectionOfficer);

    // What was never put into force is not the partner's yet.
    private static bool MayRead(Caller caller, Agreement agreement, DateOnly day) =>
        MayReadAll(caller) || new[] { agreement.On(day), agreement.NextAfter(day) }.Any(version => version?.Terms.Partner.Clients.Contains(caller.Id) == true);

    private static bool TryTime(string? text, out DateTimeOffset? time)
    {
        time = null;
        if (text is null) return true;
        if (!JsonSerializer.SerializeToElement(text).TryGetDateTimeOffset(out var read)) return false;
        time = read;
        return true;
    }

    private static ProblemHttpResult Unclear(string parameter) => EventStore.Query.Problem(parameter, "a time such as 2026-11-24T09:30:00+01:00 expected");

    private static ProblemHttpResult Unknown() => TypedResults.Problem(
        title: "No such agreement", detail: "There is no agreement of this id that you may read.", statusCode: StatusCodes.Status404NotFound);

    private static ProblemHttpResult Refused(string why) => TypedResults.Problem(title: "Not done", detail: why, statusCode: StatusCodes.Status409Conflict);

    /// <summary>What is posted to draft an agreement.</summary>
    /// <param name="Terms">Its terms.</param>
    /// <param name="Id">Its id.</param>
    /// <param name="Reason">Why.</param>
    private sealed record DraftRequest(AgreementTerms Terms, Slug? Id = null, string? Reason = null);

    /// <summary>What is posted to act on one.</summary>
    /// <param name="Reason">Why; it stays on record.</param>
    /// <param name="Version">The version that is meant, when one is activated.</param>
    private sealed record ActRequest(string Reason, int? Version = null);
}

/// <summary>An agreement in a list.</summary>
/// <param name="Id">Its id.</param>
/// <param name="State">Where it is in its life.</param>
/// <param name="InForce">Whether it allows something today (or on the day asked for).</param>
/// <param name="Title">What it is called.</param>
/// <param name="Partner">Who gets the data.</param>
/// <param name="Version">The version of the day: put into force last of those whose first day has come.</param>
/// <param name="NextVersion">A version put into force whose first day is still to come.</param>
/// <param name="PendingVersion">A version that waits to be put into force.</param>
/// <param name="From">First day.</param>
/// <param name="To">Last day.</param>
/// <param name="PersonalData">Whether it allows personal data.</param>
internal sealed record AgreementSummary(
    string Id, AgreementState State, bool InForce, string Title, string Partner, int? Version, int? NextVersion, int? PendingVersion, DateOnly From, DateOnly? To,
    bool PersonalData)
{
    public static AgreementSummary Of(Agreement agreement, DateOnly day)
    {
        var terms = (agreement.On(day) ?? agreement.Latest).Terms;
        return new(
            agreement.Id, agreement.StateOn(day), agreement.IsInForceOn(day), terms.Title, terms.Partner.Name, agreement.On(day)?.Number,
            agreement.NextAfter(day)?.Number, agreement.Pending?.Number, terms.From, terms.To, terms.Events.Any(shared => shared.Personal is not null));
    }
}

/// <summary>An agreement whole.</summary>
/// <param name="Id">Its id.</param>
/// <param name="State">Where it is in its life.</param>
/// <param name="InForce">Whether it allows something today (or on the day asked for).</param>
/// <param name="Revision">Number of its changes.</param>
/// <param name="Version">The version of the day: put into force last of those whose first day has come.</param>
/// <param name="NextVersion">A version put into force whose first day is still to come.</param>
/// <param name="PendingVersion">A version that waits to be put into force.</param>
/// <param name="Terms">The terms of that version, or else those drafted last.</param>
/// <param name="Versions">Every version.</param>
/// <param name="Acts">Who did what, when and why; not told to the partner.</param>
internal sealed record AgreementView(
    string Id, AgreementState State, bool InForce, long Revision, int? Version, int? NextVersion, int? PendingVersion, AgreementTerms Terms,
    IEnumerable<AgreementVersion> Versions, IEnumerable<ActView>? Acts)
{
    public static AgreementView Of(Agreement agreement, DateOnly day, bool isPartner) => new(
        agreement.Id, agreement.StateOn(day), agreement.IsInForceOn(day), agreement.Revision, agreement.On(day)?.Number, agreement.NextAfter(day)?.Number,
        isPartner ? null : agreement.Pending?.Number, (agreement.On(day) ?? agreement.Latest).Terms,
        isPartner ? agreement.Versions.Where(version => version.ActivatedAt is not null) : agreement.Versions,
        isPartner ? null : agreement.Events.Select(ActView.Of));
}

/// <summary>Something that was done.</summary>
/// <param name="Act"><c>drafted</c>, <c>activated</c>, <c>suspended</c>, <c>resumed</c> or <c>ended</c>.</param>
/// <param name="Version">The version meant, where there is one.</param>
/// <param name="By">Who.</param>
/// <param name="At">When.</param>
/// <param name="Why">Why.</param>
internal sealed record ActView(string Act, int? Version, string By, DateTimeOffset At, string? Why)
{
    public static ActView Of(AgreementEvent happened) => happened switch
    {
        AgreementDrafted drafted => new("drafted", drafted.Version, drafted.By, drafted.At, drafted.Why),
        AgreementActivated activated => new("activated", activated.Version, activated.By, activated.At, activated.Why),
        AgreementSuspended => new("suspended", null, happened.By, happened.At, happened.Why),
        AgreementResumed => new("resumed", null, happened.By, happened.At, happened.Why),
        _ => new("ended", null, happened.By, happened.At, happened.Why),
    };
}
