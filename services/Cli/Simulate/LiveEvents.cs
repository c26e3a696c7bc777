using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Payments;
using Intercommunalite.Contracts.Requests;
using Intercommunalite.Contracts.Schools;
using Intercommunalite.Contracts.Territories;

namespace Intercommunalite.Cli.Simulate;

/// <summary>
/// Events of the present moment, a mix of everything. What continues a record (a collection, an answer, a withdrawal)
/// continues one that was begun here. The moment of the start is in every id, so that no two runs collide.
/// </summary>
internal sealed class LiveEvents
{
    private const int MostOpen = 5000;

    private readonly SimulatedTerritory _territory;
    private readonly Acts _acts;
    private readonly Dice _dice;
    private readonly string _run;
    private readonly School[] _schools;
    private readonly double[] _schoolTotals;
    private readonly (double Weight, Func<DateTimeOffset, SimulatedEvent> Make)[] _mix;
    private readonly double[] _mixTotals;

    private readonly List<(Commune Commune, string Subject, Act Act)> _openActs = [];
    private readonly List<(Commune Commune, string Subject, Pupil Pupil)> _openEnrolments = [];
    private readonly List<(Commune Commune, string Subject, InvoiceIssued Invoice)> _openInvoices = [];
    private readonly List<(Commune Commune, string Subject, InvoiceIssued Invoice)> _paidInvoices = [];
    private readonly List<(Commune Commune, string Subject, RequestSubmitted Request)> _openRequests = [];

    private int _counter;

    public LiveEvents(SimulatedTerritory territory, DateTimeOffset start)
    {
        (_territory, _acts) = (territory, new Acts(territory));
        _run = $"live-{start.UtcDateTime:yyyyMMddHHmmssfff}";
        _dice = territory.Key.With(_run).Dice();
        _schools = [.. territory.Schools.All];
        _schoolTotals = SimulatedTerritory.RunningTotals(_schools
            .Select(school => (double)school.Commune.Population / territory.Schools.Of(school.Commune.Code).Count));
        _mix =
        [
            (4, now => Register("birth", now, _acts.Birth)),
            (4, now => Register("death", now, _acts.Death)),
            (2, now => Register("recognition", now, _acts.Recognition)),
            (1, now => Register("marriage", now, _acts.Marriage)),
            (1, now => Register("pacs", now, _acts.Pacs)),
            (0.2, now => Register("name-change", now, _acts.NameChange)),
            (0.4, Correct),
            (4, Enrol),
            (1.5, ChangeClass),
            (1.5, Withdraw),
            (20, Invoice),
            (17, Collect),
            (8, PayOnline),
            (0.4, Reduce),
            (0.4, Cancel),
            (0.3, Refund),
            (14, Submit),
            (13, Answer),
        ];
        _mixTotals = SimulatedTerritory.RunningTotals(_mix.Select(one => one.Weight));
    }

    public SimulatedEvent Next(DateTimeOffset now) => _mix[_dice.Weighted(_mixTotals)].Make(now);

    private SimulatedEvent Register(string kind, DateTimeOffset now, Func<Commune, DateOnly, string, Dice, Act> write)
    {
        // Births and hospital deaths at the centre, the rest where people live.
        var commune = kind is "birth" || (kind is "death" && _dice.Chance(0.4)) ? _territory.Centre : _territory.Member(_dice);
        var subject = NewSubject(kind, now);
        var act = write(commune, FrenchTime.DayOf(now), $"{_run}-{_counter}", _dice);
        Open(_openActs, (commune, subject, act));
        return Event(commune, subject, now, act.Registered);
    }

    private SimulatedEvent Correct(DateTimeOffset now) => Take(_openActs) is var (commune, subject, act)
        ? Event(commune, subject, now, act.Corrected(FrenchTime.DayOf(now), _territory, _dice))
        : Register("birth", now, _acts.Birth);

    private SimulatedEvent Enrol(DateTimeOffset now)
    {
        var school = _schools[_dice.Weighted(_schoolTotals)];
        var subject = NewSubject("enrolment", now);
        var year = SchoolCalendar.YearOf(FrenchTime.DayOf(now));
        var level = (SchoolLevel)_dice.Between((int)school.First, (int)school.Last);
        var home = _dice.Chance(SchoolMap.Outside) ? _territory.Member(_dice) : school.Commune;
        var key = new Key(_dice.Next());
        var pupil = new Pupil(
            key, key.With(year), new SchoolYear(year), year - 3 - (int)level, school, level, home,
            home == school.Commune ? null : DerogationReason.ResidenceAgreement, now, null, null, false, null, true, false);
        Open(_openEnrolments, (school.Commune, subject, pupil));
        return Event(school.Commune, subject, now, pupil.Enrolled());
    }

    private SimulatedEvent ChangeClass(DateTimeOffset now)
    {
        var changing = _openEnrolments.Count > 0 ? _dice.Below(_openEnrolments.Count) : -1;
        if (changing < 0 || _openEnrolments[changing].Pupil.ChangedAt is not null) return Enrol(now);
        var (commune, subject, pupil) = _openEnrolments[changing];
        pupil = pupil with { ChangedAt = now };
        _openEnrolments[changing] = (commune, subject, pupil);
        return Event(commune, subject, now, pupil.Changed());
    }

    private SimulatedEvent Withdraw(DateTimeOffset now) => Take(_openEnrolments) is var (commune, subject, pupil)
        ? Event(commune, subject, now, (pupil with { LeftAt = now }).Withdrawn())
        : Enrol(now);

    private SimulatedEvent Invoice(DateTimeOffset now)
    {
        var commune = _schools[_dice.Weighted(_schoolTotals)].Commune;
        var subject = NewSubject("invoice", now);
        var service = _dice.Chance(0.75) ? Invoices.Canteen : Invoices.AfterSchoolCare;
        var day = FrenchTime.DayOf(now);
        var invoice = Invoices.Issue(service, People.Resident(_dice, day, commune.Name), Invoices.Price(_dice, service), day, _dice);
        Open(_openInvoices, (commune, subject, invoice));
        return Event(commune, subject, now, invoice);
    }

    private SimulatedEvent Collect(DateTimeOffset now)
    {
        if (Take(_openInvoices) is not var (commune, subject, invoice)) return Invoice(now);
        Open(_paidInvoices, (commune, subject, invoice));
        var collected = new PaymentCollected(invoice.Amount, FrenchTime.DayOf(now), subject) { Personal = invoice.Personal };
        return Event(commune, NewSubject("collection", now), now, collected);
    }

    private SimulatedEvent PayOnline(DateTimeOffset now)
    {
        if (_openInvoices.Count == 0) return Invoice(now);
        var (commune, subject, invoice) = _dice.Of(_openInvoices);
        var outcome = _dice.Unit() switch
        {
            < 0.78 => OnlinePaymentOutcome.CardPaid,
            < 0.92 => OnlinePaymentOutcome.DirectDebitPaid,
            < 0.97 => OnlinePaymentOutcome.Abandoned,
            _ => OnlinePaymentOutcome.Refused,
        };
        var answered = new OnlinePaymentAnswered(subject, invoice.Amount, now, outcome) { Personal = new(People.Email(_dice)) };
        return Event(commune, NewSubject("online-payment", now), now, answered);
    }

    // A reduced or cancelled invoice is not followed further.
    private SimulatedEvent Reduce(DateTimeOffset now)
    {
        if (Take(_openInvoices) is not var (commune, subject, invoice)) return Invoice(now);
        var reduction = new Cents(invoice.Amount.Value / 4);
        return Event(commune, subject, now, new InvoiceReduced(reduction, FrenchTime.DayOf(now)) { Personal = invoice.Personal });
    }

    private SimulatedEvent Cancel(DateTimeOffset now) => Take(_openInvoices) is var (commune, subject, invoice)
        ? Event(commune, subject, now, new InvoiceCancelled(FrenchTime.DayOf(now)) { Personal = invoice.Personal })
        : Invoice(now);

    private SimulatedEvent Refund(DateTimeOffset now)
    {
        if (Take(_paidInvoices) is not var (commune, subject, invoice)) return Collect(now);
        var refunded = new PaymentRefunded(invoice.Amount, FrenchTime.DayOf(now), subject) { Personal = invoice.Personal };
        return Event(commune, NewSubject("refund", now), now, refunded);
    }

    private SimulatedEvent Submit(DateTimeOffset now)
    {
        var commune = _territory.Member(_dice);
        var subject = NewSubject("request", now);
        var request = Teleforms.Submit(commune, now, _dice);
        Open(_openRequests, (commune, subject, request));
        return Event(commune, subject, now, request);
    }

    private SimulatedEvent Answer(DateTimeOffset now) => Take(_openRequests) is var (commune, subject, request)
        ? Event(commune, subject, now, Teleforms.Answer(request, now, _dice.Chance(0.92), _dice))
        : Submit(now);

    private string NewSubject(string kind, DateTimeOffset now) => $"{kind}/{FrenchTime.DayOf(now).Year}/{_run}-{++_counter:D6}";

    private SimulatedEvent Event(Commune commune, string subject, DateTimeOffset now, DomainEvent data) =>
        new(commune.Code, SimulatedEvent.IdOf(_territory.Seed, subject, data), subject, now, data);

    private void Open<T>(List<T> open, T record)
    {
        // A run of days must not grow without end: beyond the most, a record stays as it is for ever.
        if (open.Count < MostOpen) open.Add(record);
        else open[_dice.Below(MostOpen)] = record;
    }

    private T? Take<T>(List<T> open)
        where T : struct
    {
        if (open.Count == 0) return null;
        var index = _dice.Below(open.Count);
        var taken = open[index];
        open[index] = open[^1];
        open.RemoveAt(open.Count - 1);
        return taken;
    }
}
