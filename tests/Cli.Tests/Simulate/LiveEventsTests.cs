using System.Text.Json;
using Intercommunalite.Cli.Simulate;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Payments;
using Intercommunalite.Contracts.Schools;
using Intercommunalite.Contracts.Territories;

namespace Intercommunalite.Cli.Tests.Simulate;

public class LiveEventsTests
{
    private static readonly DateTimeOffset s_start = new(2026, 11, 24, 9, 0, 0, TimeSpan.Zero);

    private static List<SimulatedEvent> Run(DateTimeOffset start, int count = 5000)
    {
        var live = new LiveEvents(new SimulatedTerritory(Epci.Find(Played.BretagneRomantique)!, 1), start);
        return [.. Enumerable.Range(0, count).Select(second => live.Next(start.AddSeconds(second)))];
    }

    [Fact]
    public void Given_a_run_When_read_as_a_connector_reads_Then_every_event_is_valid_of_now_and_unique()
    {
        var events = Run(s_start);

        Assert.Equal(events.Count, events.Select(e => (e.Commune, e.Id)).Distinct().Count());
        foreach (var (second, e) in events.Index())
        {
            using var json = JsonDocument.Parse(Played.Json(e));
            Assert.True(EventReader.TryRead(json.RootElement, e.Commune, out _, out var errors), $"{e.Id}: {string.Join(", ", errors)}");
            Assert.Equal(s_start.AddSeconds(second), e.Time);
        }
    }

    [Fact]
    public void Given_two_runs_When_compared_Then_no_id_and_no_subject_is_of_both()
    {
        var (one, other) = (Run(s_start), Run(s_start.AddMinutes(1)));

        Assert.Empty(one.Select(e => e.Id).Intersect(other.Select(e => e.Id)));
        Assert.Empty(one.Select(e => e.Subject).Intersect(other.Select(e => e.Subject)));
    }

    [Fact]
    public void Given_a_run_When_records_go_on_Then_they_were_begun_before()
    {
        var (invoices, pupils) = (new Dictionary<string, long>(), new HashSet<string>());
        var schools = Played.Bretagne.Of<SchoolDeclared>().Select(one => one.Data.School).ToHashSet();
        foreach (var e in Run(s_start))
        {
            switch (e.Data)
            {
                case InvoiceIssued invoice:
                    invoices.Add(e.Subject, invoice.Amount.Value);
                    break;
                case PaymentCollected collected:
                    Assert.Equal(invoices[collected.Invoice!], collected.Amount.Value);
                    break;
                case PaymentRefunded refunded:
                    Assert.Equal(invoices[refunded.Invoice!], refunded.Amount.Value);
                    break;
                case InvoiceReduced or InvoiceCancelled:
                    Assert.Contains(e.Subject, invoices);
                    break;
                case PupilEnrolled pupil:
                    Assert.Contains(pupil.School, schools);
                    Assert.Equal(2026, pupil.SchoolYear.Start);
                    Assert.Equal(pupil.ResidenceCommune != e.Commune, pupil.Derogation is not null);
                    pupils.Add(e.Subject);
                    break;
                case PupilChangedClass:
                    Assert.Contains(e.Subject, pupils);
                    break;
                case PupilWithdrawn:
                    Assert.True(pupils.Remove(e.Subject));
                    break;
            }
        }
    }
}
