using Intercommunalite.Contracts.Territories;

namespace Intercommunalite.Cli.Simulate;

/// <summary>All the software of a commune, day by day. Nothing is kept but what is still to come of the records begun.</summary>
internal sealed class CommuneSoftware(SimulatedTerritory territory, Commune commune)
{
    public Commune Commune => commune;

    /// <summary>The events of a period in order of time.</summary>
    public IEnumerable<SimulatedEvent> Play(Period period)
    {
        var key = territory.Key.With(commune.Code.ToString());
        var registry = new CivilRegistry(territory, commune, key.With("registry"));
        var schools = new SchoolOffice(territory, commune, key.With("schools"));
        var invoices = new Invoices(schools);
        var teleforms = new Teleforms(commune, key.With("teleforms"));
        var agenda = new Agenda(commune.Code, territory.Seed, period.Until);
        for (var day = period.SchoolsFrom; day <= period.Through; day = day.AddDays(1))
        {
            schools.Work(day, agenda);
            if (day >= period.From)
            {
                registry.Work(day, agenda);
                invoices.Work(day, agenda);
                teleforms.Work(day, agenda);
            }

            foreach (var e in agenda.Before(FrenchTime.At(day.AddDays(1), 0))) yield return e;
        }
    }
}
