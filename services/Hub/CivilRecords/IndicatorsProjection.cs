using Intercommunalite.Contracts;
using Intercommunalite.Contracts.CivilRecords;
using Intercommunalite.Contracts.Territories;
using Intercommunalite.Hub.EventStore;

namespace Intercommunalite.Hub.CivilRecords;

/// <summary>An act as it counts: the last facts said of it.</summary>
/// <param name="Commune">Commune of registration.</param>
/// <param name="Kind">Kind of act; act numbers are unique only within one.</param>
/// <param name="Subject">The act's own key.</param>
/// <param name="Period"><c>YYYY-MM</c>, or <c>YYYY</c> when the month is unknown.</param>
/// <param name="Residence">Commune of residence today, or null when unknown.</param>
/// <param name="Annulled">Whether it counts no longer.</param>
internal sealed record Act(string Commune, string Kind, string Subject, string Period = "", string? Residence = null, bool Annulled = false);

/// <summary>Acts counted.</summary>
/// <param name="Basis"><c>registration</c> or <c>residence</c>: never to be mixed.</param>
/// <param name="Commune">Commune of registration, or of residence.</param>
/// <param name="Period"><c>YYYY-MM</c>, or <c>YYYY</c>.</param>
/// <param name="Births">Births.</param>
/// <param name="Recognitions">Recognitions.</param>
/// <param name="Marriages">Marriages.</param>
/// <param name="Pacs">PACS.</param>
/// <param name="Deaths">Deaths.</param>
/// <param name="NameChanges">Changes of name.</param>
internal sealed record Indicator(
    string Basis, string Commune, string Period, int Births = 0, int Recognitions = 0, int Marriages = 0, int Pacs = 0, int Deaths = 0, int NameChanges = 0)
{
    public Indicator Plus(ActKind kind, int count) => kind switch
    {
        ActKind.Birth => this with { Births = Births + count },
        ActKind.Recognition => this with { Recognitions = Recognitions + count },
        ActKind.Marriage => this with { Marriages = Marriages + count },
        ActKind.Pacs => this with { Pacs = Pacs + count },
        ActKind.Death => this with { Deaths = Deaths + count },
        ActKind.NameChange => this with { NameChanges = NameChanges + count },
        _ => throw new ArgumentOutOfRangeException(nameof(kind)),
    };
}

/// <summary>
/// Civil-record indicators by commune of registration and by commune of residence, by month of the event. An act said again
/// counts once, as last said; a corrected one counts as corrected; an annulled one no longer.
/// </summary>
internal sealed class IndicatorsProjection() : ConsolidatedProjection(
    ProjectionName, Catalogue.All.Where(type => type.Domain == "civil-records"), Acts, Indicators)
{
    public const string ProjectionName = "civil-records";
    public const string Registration = "registration";
    public const string Residence = "residence";

    public static RowTable<Act> Acts { get; } = new("civil_records.act", keyLength: 3);

    public static RowTable<Indicator> Indicators { get; } = new("civil_records.indicator", keyLength: 3);

    /// <inheritdoc/>
    public override string AcrossCommunes => "the figures by residence count acts that other communes registered";

    protected override async Task ProjectAsync(Page page, CancellationToken cancellation)
    {
        var changes = page.Events.Select(Said).ToList();
        var acts = (await Acts.LoadAsync(page, [.. changes.Select(Key).Distinct()], cancellation)).ToDictionary(Key);
        var figures = new Dictionary<(string Basis, string Commune, string Period), Indicator>();
        foreach (var change in changes) Apply(change, acts, figures);
        Acts.Save(page, [.. changes.Select(Key).Distinct().Select(key => acts[key])]);
        Indicators.Add(page, figures.Values);
    }

    /// <summary>What an event says of its act; an annulment says only that.</summary>
    internal static Act Said(StoredEvent stored)
    {
        var (commune, subject) = (stored.Commune, stored.Subject);
        return stored.Data switch
        {
            BirthRegistered act => Of(ActKind.Birth, act.Date, act.ResidenceCommune),
            RecognitionRegistered act => Of(ActKind.Recognition, act.Date, act.ResidenceCommune),
            MarriageRegistered act => Of(ActKind.Marriage, act.Date, act.ResidenceCommune),
            PacsRegistered act => Of(ActKind.Pacs, act.Date, act.ResidenceCommune),
            DeathRegistered act => Of(ActKind.Death, act.Date, act.ResidenceCommune),
            NameChangeRegistered act => Of(ActKind.NameChange, act.Date, act.ResidenceCommune),
            ActCorrected act => Of(act.Kind, act.Date, act.ResidenceCommune),
            ActAnnulled act => new Act(commune, act.Kind.ToString(), subject, Annulled: true),
            _ => throw new InvalidOperationException($"{stored.Data.GetType().Name} is no civil-record event."),
        };
        Act Of(ActKind kind, PartialDate date, CommuneCode? residence) => new(commune, kind.ToString(), subject, date.Period, Today(residence));
    }

    /// <summary>Takes what is said into the acts, and the difference that it makes into the figures.</summary>
    internal static void Apply(Act said, Dictionary<Act, Act> acts, Dictionary<(string Basis, string Commune, string Period), Indicator> figures)
    {
        var before = acts.GetValueOrDefault(Key(said));
        // What an annulled act was stays known; it does not come back by being corrected.
        var after = said.Annulled ? (before ?? said) with { Annulled = true } : said with { Annulled = before?.Annulled ?? false };
        acts[Key(said)] = after;
        if (before is not null) Count(before, -1);
        Count(after, +1);

        void Count(Act act, int count)
        {
            if (act.Annulled) return;
            var kind = Enum.Parse<ActKind>(act.Kind);
            Add(Registration, act.Commune);
            if (act.Residence is { } residence) Add(Residence, residence);
            void Add(string basis, string commune)
            {
                var key = (basis, commune, act.Period);
                figures[key] = (figures.GetValueOrDefault(key) ?? new Indicator(basis, commune, act.Period)).Plus(kind, count);
            }
        }
    }

    private static Act Key(Act act) => new(act.Commune, act.Kind, act.Subject);

    // Residents of a commune since merged are residents of the new one. A code of no commune of today is kept as it is.
    private static string? Today(CommuneCode? residence) =>
        residence is { } code ? (Epci.TryResolve(code.ToString(), out var current) ? current : code).ToString() : null;
}
