using System.Text.Json;
using Intercommunalite.Cli.Simulate;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.CivilRecords;
using Intercommunalite.Contracts.Payments;
using Intercommunalite.Contracts.Requests;
using Intercommunalite.Contracts.Schools;
using Intercommunalite.Contracts.Territories;

namespace Intercommunalite.Cli.Tests.Simulate;

public class PastTests
{
    private const string Combourg = "35085";

    [Fact]
    public void Given_a_seed_When_played_twice_Then_the_events_are_the_same_whatever_else_is_played()
    {
        var whole = Played.Bretagne.Where(e => e.Commune.ToString() == Combourg).Select(Played.Json);

        var alone = Played.Events(Played.BretagneRomantique, 1, 14, new DateOnly(2026, 9, 30), Combourg).Select(Played.Json);

        Assert.Equal(whole, alone);
    }

    [Fact]
    public void Given_another_seed_When_played_Then_the_past_is_another()
    {
        var one = Played.Bretagne.Where(e => e.Commune.ToString() == Combourg).ToList();

        var other = Played.Events(Played.BretagneRomantique, 2, 14, new DateOnly(2026, 9, 30), Combourg);

        Assert.Empty(one.Select(e => e.Id).Intersect(other.Select(e => e.Id)));
        Assert.NotEqual(one.Select(e => e.Time), other.Select(e => e.Time));
    }

    [Fact]
    public void Given_a_past_When_it_is_played_for_longer_Then_what_was_before_stays()
    {
        var shorter = Played.Events(Played.BretagneRomantique, 1, 12, new DateOnly(2026, 7, 31), Combourg, "35317");
        var longer = Played.Events(Played.BretagneRomantique, 1, 14, new DateOnly(2026, 9, 30), Combourg, "35317");

        var before = FrenchTime.At(new DateOnly(2026, 8, 1), 0);
        Assert.Equal(shorter.Select(Played.Json), longer.Where(e => e.Time < before).Select(Played.Json));
        Assert.True(longer.Count > shorter.Count);
    }

    [Fact]
    public void Given_a_later_beginning_When_played_Then_every_event_is_one_of_the_longer_past()
    {
        var from = Played.Bretagne.Where(e => e.Commune.ToString() == Combourg).ToDictionary(e => e.Id, Played.Json);

        var later = Played.Events(Played.BretagneRomantique, 1, 3, new DateOnly(2026, 9, 30), Combourg);

        Assert.All(later, e => Assert.Equal(from[e.Id], Played.Json(e)));
    }

    [Fact]
    public void Given_the_whole_past_When_read_as_a_connector_reads_Then_every_event_is_valid()
    {
        foreach (var e in Played.Bretagne)
        {
            using var json = JsonDocument.Parse(Played.Json(e));
            Assert.True(EventReader.TryRead(json.RootElement, e.Commune, out var read, out var errors), $"{e.Id}: {string.Join(", ", errors)}");
            Assert.Equal(EventSource.Simulated, read.Envelope.Source.System);
        }
    }

    [Fact]
    public void Given_the_whole_past_When_looked_at_by_type_Then_every_type_of_the_catalogue_occurs()
    {
        Assert.Equal(Catalogue.All.Select(type => type.Name).Order(), Played.Bretagne.Select(e => Catalogue.Of(e.Data).Name).Distinct().Order());
    }

    [Fact]
    public void Given_the_events_of_a_commune_When_read_in_order_Then_time_only_goes_on_and_ids_are_unique()
    {
        foreach (var ofCommune in Played.Bretagne.GroupBy(e => e.Commune))
        {
            Assert.Equal(ofCommune.Select(e => e.Time), ofCommune.Select(e => e.Time).Order());
            Assert.Equal(ofCommune.Count(), ofCommune.Select(e => e.Id).Distinct().Count());
        }
    }

    [Fact]
    public void Given_a_period_When_played_Then_only_the_running_school_year_begins_before_it()
    {
        var from = FrenchTime.At(new DateOnly(2026, 7, 1), 0);

        var earlier = Played.Events(Played.BretagneRomantique, 1, 3, new DateOnly(2026, 9, 30), Combourg).Where(e => e.Time < from).ToList();

        Assert.NotEmpty(earlier);
        Assert.All(earlier, e => Assert.StartsWith("fr.intercommunalite.schools.", Catalogue.Of(e.Data).Name, StringComparison.Ordinal));
        Assert.All(earlier, e => Assert.True(e.Time >= FrenchTime.At(new DateOnly(2025, 8, 1), 0)));
    }

    [Fact]
    public void Given_numbered_acts_When_a_year_is_played_whole_Then_numbers_run_without_a_gap()
    {
        var numbers = Played.Bretagne.Of<BirthRegistered>()
            .Where(one => one.Event.Commune.ToString() == Combourg && one.Event.Time.Year == 2026)
            .Select(one => int.Parse(one.Data.ActNumber, null));

        Assert.Equal(Enumerable.Range(1, numbers.Count()), numbers);
    }

    [Fact]
    public void Given_amendments_When_their_act_is_looked_for_Then_it_was_registered_before()
    {
        var registered = new HashSet<(CommuneCode, string)>();
        var amended = 0;
        foreach (var e in Played.Bretagne)
        {
            if (e.Data is ActCorrected or ActAnnulled)
            {
                amended++;
                Assert.Contains((e.Commune, e.Subject), registered);
            }
            else
            {
                registered.Add((e.Commune, e.Subject));
            }
        }

        Assert.True(amended > 10);
    }

    [Fact]
    public void Given_pupils_When_they_change_or_leave_Then_they_were_enrolled_in_a_school_declared_before()
    {
        var declared = new HashSet<(Uai, int)>();
        var present = new Dictionary<(CommuneCode, string), (Uai, SchoolLevel, CommuneCode)>();
        foreach (var e in Played.Bretagne)
        {
            var key = (e.Commune, e.Subject);
            switch (e.Data)
            {
                case SchoolDeclared school:
                    Assert.True(e.Time < FrenchTime.At(new DateOnly(school.SchoolYear.Start, 9, 1), 0));
                    declared.Add((school.School, school.SchoolYear.Start));
                    break;
                case PupilEnrolled pupil:
                    Assert.Contains((pupil.School, pupil.SchoolYear.Start), declared);
                    present.Add(key, (pupil.School, pupil.Level, pupil.ResidenceCommune));
                    break;
                case PupilChangedClass pupil:
                    Assert.Equal(pupil.School, present[key].Item1);
                    present[key] = (pupil.School, pupil.Level, pupil.ResidenceCommune);
                    break;
                case PupilWithdrawn pupil:
                    Assert.Equal((pupil.School, pupil.Level, pupil.ResidenceCommune), present[key]);
                    present.Remove(key);
                    break;
            }
        }
    }

    [Fact]
    public void Given_pupils_When_schooled_outside_their_commune_Then_and_only_then_there_is_a_derogation()
    {
        foreach (var (e, pupil) in Played.Bretagne.Of<PupilEnrolled>())
            Assert.Equal(pupil.ResidenceCommune != e.Commune, pupil.Derogation is not null);
        foreach (var (e, pupil) in Played.Bretagne.Of<PupilChangedClass>())
            Assert.Equal(pupil.ResidenceCommune != e.Commune, pupil.Derogation is not null);
    }

    [Theory]
    [InlineData(Played.BretagneRomantique)]
    [InlineData("243500139")] // Rennes Métropole: every commune has a school
    public void Given_a_territory_When_pupils_are_counted_Then_one_in_eight_is_schooled_outside(string siren)
    {
        var epci = Epci.Find(siren)!;
        var pupils = new Pupils(new SimulatedTerritory(epci, 1));

        var all = epci.Communes.SelectMany(host => pupils.Of(host, 2026).Select(pupil => pupil.Residence != host)).ToList();

        Assert.InRange(all.Count(outside => outside) / (double)all.Count, 0.11, 0.14);
        Assert.InRange(all.Count / (double)epci.Communes.Sum(commune => commune.Population), 0.093, 0.099);
    }

    [Fact]
    public void Given_a_commune_without_school_When_its_pupils_are_looked_for_Then_they_are_at_a_neighbour_for_want_of_one()
    {
        var pupils = Played.Bretagne.Of<PupilEnrolled>().Where(one => one.Data.ResidenceCommune.ToString() == "35148").ToList(); // Lanrigan

        Assert.NotEmpty(pupils);
        Assert.All(pupils, one => Assert.Equal(DerogationReason.NoPlace, one.Data.Derogation));
    }

    [Fact]
    public void Given_a_year_past_When_the_next_begins_Then_the_same_children_are_enrolled_anew_a_level_higher()
    {
        var epci = Epci.Find(Played.BretagneRomantique)!;
        var pupils = new Pupils(new SimulatedTerritory(epci, 1));
        var combourg = epci.Member(CommuneCode.Parse(Combourg))!;
        var next = pupils.Of(combourg, 2026).ToDictionary(pupil => pupil.Key);

        var staying = pupils.Of(combourg, 2025).Where(pupil => pupil.Level < SchoolLevel.CM2 && pupil.LeftAt is null && !pupil.ChangesLevel && pupil.MovesTo is null).ToList();

        Assert.All(staying, pupil => Assert.Equal(pupil.Level + 1, next[pupil.Key].Level));
        Assert.All(staying, pupil => Assert.Equal(pupil.Enrolled().Personal!.Ine, next[pupil.Key].Enrolled().Personal!.Ine));
    }

    [Fact]
    public void Given_schools_When_numbered_Then_each_has_its_own_valid_UAI_and_the_places_for_its_pupils()
    {
        var rolls = Played.Bretagne.Of<PupilEnrolled>().CountBy(one => (one.Data.School, one.Data.SchoolYear)).ToDictionary();
        var declared = Played.Bretagne.Of<SchoolDeclared>().ToList();

        Assert.Equal(declared.Count, declared.Select(one => (one.Data.School, one.Data.SchoolYear)).Distinct().Count());
        Assert.All(declared.Where(one => one.Data.SchoolYear.Start == 2025), one => Assert.InRange(rolls[(one.Data.School, one.Data.SchoolYear)], 1, one.Data.Places));
        Assert.Equal("0350122T", SchoolMap.Uai(350122).ToString());
    }

    [Fact]
    public void Given_invoices_When_money_moves_Then_it_does_so_after_the_issue_and_for_an_invoice_that_exists()
    {
        var issued = new Dictionary<(CommuneCode, string), DateTimeOffset>();
        var days = new Dictionary<(CommuneCode, string), DateOnly>();
        foreach (var e in Played.Bretagne)
        {
            switch (e.Data)
            {
                case InvoiceIssued invoice:
                    Assert.DoesNotContain(invoice.IssuedOn.Month, new[] { 7, 8 });
                    issued.Add((e.Commune, e.Subject), e.Time);
                    days.Add((e.Commune, e.Subject), invoice.IssuedOn);
                    break;
                case PaymentCollected collected:
                    Assert.True(issued[(e.Commune, collected.Invoice!)] < e.Time);
                    Assert.InRange(collected.CollectedOn.DayNumber - days[(e.Commune, collected.Invoice!)].DayNumber, 1, 110);
                    break;
                case OnlinePaymentAnswered answered:
                    Assert.True(issued[(e.Commune, answered.Invoice)] < e.Time);
                    break;
                case PaymentRefunded refunded:
                    Assert.True(issued[(e.Commune, refunded.Invoice!)] < e.Time);
                    break;
                case InvoiceReduced or InvoiceCancelled:
                    Assert.True(issued[(e.Commune, e.Subject)] < e.Time);
                    break;
            }
        }
    }

    [Fact]
    public void Given_invoices_of_a_winter_When_the_summer_comes_Then_nearly_all_were_paid_within_45_days()
    {
        var invoices = Played.Bretagne.Of<InvoiceIssued>().Where(one => one.Data.IssuedOn < new DateOnly(2026, 3, 1)).ToDictionary(one => (one.Event.Commune, one.Event.Subject), one => one.Data);
        var collected = Played.Bretagne.Of<PaymentCollected>().ToLookup(one => (one.Event.Commune, one.Data.Invoice!), one => one.Data);
        var cancelled = Played.Bretagne.Of<InvoiceCancelled>().Select(one => (one.Event.Commune, one.Event.Subject)).ToHashSet();
        var reduced = Played.Bretagne.Of<InvoiceReduced>().ToDictionary(one => (one.Event.Commune, one.Event.Subject), one => one.Data.Amount.Value);

        var paid = invoices.Count(pair => collected[pair.Key]
            .Where(money => money.CollectedOn <= pair.Value.IssuedOn.AddDays(45))
            .Sum(money => money.Amount.Value) >= pair.Value.Amount.Value - reduced.GetValueOrDefault(pair.Key));

        Assert.InRange(paid / (double)(invoices.Count - cancelled.Count(invoices.ContainsKey)), 0.90, 0.94);
        Assert.All(cancelled, invoice => Assert.Empty(collected[invoice]));
    }

    [Fact]
    public void Given_requests_When_answered_Then_once_after_they_were_filed()
    {
        var submitted = new Dictionary<(CommuneCode, string), RequestSubmitted>();
        foreach (var e in Played.Bretagne)
        {
            switch (e.Data)
            {
                case RequestSubmitted request:
                    submitted.Add((e.Commune, e.Subject), request);
                    break;
                case RequestCompleted completed:
                    Assert.True(submitted.Remove((e.Commune, e.Subject), out var filed));
                    Assert.True(filed.SubmittedAt < completed.CompletedAt && filed.Procedure == completed.Procedure);
                    break;
                case RequestRefused refused:
                    Assert.True(submitted.Remove((e.Commune, e.Subject), out var asked));
                    Assert.True(asked.SubmittedAt < refused.RefusedAt && asked.Procedure == refused.Procedure);
                    break;
            }
        }
    }

    [Fact]
    public void Given_two_territories_When_played_Then_acts_are_in_proportion_to_their_inhabitants()
    {
        foreach (var siren in new[] { Played.BretagneRomantique, "200068674" })
        {
            var (epci, types) = (Epci.Find(siren)!, Acts(siren).CountBy(e => e.Data.GetType()).ToDictionary());
            double Rate(Type type) => types[type] / 3.0 / epci.Communes.Sum(commune => commune.Population);
            Assert.InRange(Rate(typeof(BirthRegistered)), 0.0090, 0.0110);
            Assert.InRange(Rate(typeof(DeathRegistered)), 0.0085, 0.0105);
            Assert.InRange(Rate(typeof(MarriageRegistered)), 0.0030, 0.0040);
            Assert.InRange(Rate(typeof(PacsRegistered)), 0.0025, 0.0035);
            Assert.InRange(Rate(typeof(RecognitionRegistered)), 0.0044, 0.0056);
        }

        // Three years of the registries alone.
        static IEnumerable<SimulatedEvent> Acts(string siren)
        {
            var territory = new SimulatedTerritory(Epci.Find(siren)!, 1);
            foreach (var commune in territory.Epci.Communes)
            {
                var registry = new CivilRegistry(territory, commune, new Key(1).With(commune.Code.ToString()));
                var agenda = new Agenda(commune.Code, 1, DateTimeOffset.MaxValue);
                for (var day = new DateOnly(2024, 1, 1); day.Year < 2027; day = day.AddDays(1)) registry.Work(day, agenda);
                foreach (var e in agenda.Before(DateTimeOffset.MaxValue)) yield return e;
            }
        }
    }

    [Fact]
    public void Given_births_When_looked_at_by_commune_Then_most_are_registered_at_the_maternity_for_mothers_of_elsewhere()
    {
        var births = Played.Bretagne.Of<BirthRegistered>().ToList();

        Assert.True(births.Count(one => one.Event.Commune.ToString() == Combourg) > 0.9 * births.Count);
        Assert.Contains(births, one => one.Event.Commune.ToString() != Combourg);
        Assert.InRange(births.Count(one => one.Data.ResidenceCommune != one.Event.Commune) / (double)births.Count, 0.6, 0.9);
        Assert.Contains(births, one => Epci.Find(Played.BretagneRomantique)!.Member(one.Data.ResidenceCommune!.Value) is null);
    }
}
