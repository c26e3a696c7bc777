using System.Text.Json;
using Intercommunalite.Connector.Formats.Rolls;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Schools;

namespace Intercommunalite.Connector.Tests.Formats.Rolls;

public sealed class RollComparisonTests
{
    private static readonly RollKey s_roll = new(Uai.Parse("0350122T"), new SchoolYear(2026));
    private static readonly CommuneCode s_combourg = CommuneCode.Parse("35085");
    private static readonly CommuneCode s_tinteniac = CommuneCode.Parse("35337");

    private RollState _state = RollState.Empty();
    private DateTimeOffset _takenAt = new(2026, 11, 24, 9, 0, 0, TimeSpan.FromHours(1));

    [Fact]
    public void Given_nothing_known_When_a_file_comes_Then_all_are_enrolled_from_the_first_of_September()
    {
        var changes = File(Pupil("Léa"), Pupil("Léo", SchoolLevel.CE1, s_tinteniac));

        Assert.Equal(["enrolled CP 35085 2026-09-01", "enrolled CE1 35337 2026-09-01"], Said(changes.Named));
        Assert.Empty(changes.Withdrawn);
        Assert.All(changes.Named, named =>
        {
            Assert.Equal(("urn:insee:commune:35085:onde-pupils", _takenAt), (named.Source.ToString(), named.Time));
            Assert.Matches("^0350122T/2026/[0-9a-f]{20}$", named.Subject);
        });
        Assert.Equal("Léa", changes.Named[0].Data.GetProperty("personal").GetProperty("pupil").GetProperty("firstNames").GetString());
        Assert.Equal(2, changes.Named.Select(named => named.Subject).Distinct().Count());
    }

    [Fact]
    public void Given_nothing_known_When_a_file_comes_before_the_school_year_Then_pupils_are_enrolled_that_day()
    {
        _takenAt = new(2026, 8, 30, 23, 30, 0, TimeSpan.Zero);

        Assert.Equal(["enrolled CP 35085 2026-08-31"], Said(File(Pupil("Léa")).Named));
    }

    [Fact]
    public void Given_a_roll_When_a_file_adds_moves_and_leaves_out_pupils_Then_there_is_an_event_for_each_and_no_other()
    {
        var first = File(Pupil("Léa"), Pupil("Léo"), Pupil("Luc"), Pupil("Zoé"), Pupil("Max"));
        _takenAt = _takenAt.AddDays(7);

        var changes = File(Pupil("Léo", SchoolLevel.CE1), Pupil("Luc", residence: s_tinteniac), Pupil("Zoé", className: "CP B"), Pupil("Max"), Pupil("New"));

        Assert.Equal(
            ["changed CE1 35085 2026-12-01", "changed CP 35337 2026-12-01", "changed CP 35085 2026-12-01", "enrolled CP 35085 2026-12-01"], Said(changes.Named));
        Assert.Equal(["withdrawn CP 35085 2026-12-01"], Said(changes.Withdrawn));
        Assert.Equal(Subjects(first.Named)[1..4], Subjects(changes.Named)[..3]);
        Assert.Equal(Subjects(first.Named)[0], changes.Withdrawn[0].Subject);
        Assert.Equal(("CP B", 1, 1), (changes.Named[2].Data.GetProperty("personal").GetProperty("className").GetString(), changes.Unchanged, changes.Missing));
    }

    [Fact]
    public void Given_a_roll_When_the_same_file_comes_again_Then_nothing_changes()
    {
        File(Pupil("Léa"), Pupil("Léo"));
        _takenAt = _takenAt.AddDays(7);

        var changes = File(Pupil("Léa"), Pupil("Léo"));

        Assert.Empty(changes.Named);
        Assert.Empty(changes.Withdrawn);
        Assert.Equal(2, changes.Unchanged);
    }

    [Fact]
    public void Given_a_pupil_who_leaves_and_comes_back_twice_Then_it_is_one_subject_and_each_event_has_its_own_id()
    {
        var events = new List<CloudEvent>();
        for (var round = 0; round < 3; round++)
        {
            events.AddRange(File(Pupil("Léa"), Pupil("Léo")).Named);
            // Within one day, so that nothing but what came before tells the events apart.
            events.AddRange(File(Pupil("Léo")).Withdrawn);
        }

        var lea = events.Where(said => said.Subject == events[0].Subject).ToList();
        Assert.Equal(["enrolled", "withdrawn", "enrolled", "withdrawn", "enrolled", "withdrawn"], lea.Select(said => Said([said])[0].Split(' ')[0]));
        Assert.Equal(6, lea.Select(said => said.EventId).Distinct().Count());
        Assert.Equal(7, events.Count);
    }

    [Fact]
    public void Given_a_state_and_a_file_When_they_are_compared_twice_Then_the_events_are_the_same()
    {
        File(Pupil("Léa"), Pupil("Léo"), Pupil("Luc"));
        var before = _state;
        var one = File(Pupil("Léo", SchoolLevel.CE1), Pupil("Luc"), Pupil("New"));
        _state = before;

        var other = File(Pupil("Léo", SchoolLevel.CE1), Pupil("Luc"), Pupil("New"));

        Assert.Equal(one.Named.Concat(one.Withdrawn).Select(said => said.EventId), other.Named.Concat(other.Withdrawn).Select(said => said.EventId));
        Assert.Equal(3, one.Named.Count + one.Withdrawn.Count);
    }

    [Fact]
    public void Given_nothing_known_When_a_file_is_compared_twice_Then_the_events_are_the_same_though_the_marks_are_not()
    {
        var one = File(Pupil("Léa", ine: "123456789AB"));
        var marks = _state.Pupils[0];
        _state = RollState.Empty();

        var other = File(Pupil("Léa", ine: "123456789AB"));

        Assert.Equal(one.Named[0].EventId, other.Named[0].EventId);
        Assert.NotEqual(marks.Ine, _state.Pupils[0].Ine);
        Assert.NotEqual(marks.Identity, _state.Pupils[0].Identity);
    }

    [Fact]
    public void Given_a_name_that_is_corrected_When_the_INE_is_the_same_Then_the_pupil_is()
    {
        File(Pupil("Lea", ine: "123456789AB"));
        var subject = _state.Pupils[0].Subject;

        var corrected = File(Pupil("Léa-Marie", ine: "123456789AB"));
        var moved = File(Pupil("Léa-Marie", SchoolLevel.CE1, ine: "123456789AB"));

        Assert.Empty(corrected.Named);
        Assert.Empty(corrected.Withdrawn);
        Assert.Equal((subject, "changed CE1 35085 2026-11-24"), (moved.Named[0].Subject, Said(moved.Named)[0]));
    }

    [Theory]
    [InlineData(null, "123456789AB")]
    [InlineData("123456789AB", null)]
    public void Given_an_INE_in_only_one_of_two_files_When_they_are_compared_Then_names_and_birth_date_tell_the_pupil(string? before, string? after)
    {
        File(Pupil("Léa Marie", ine: before));

        var changes = File(Pupil("LEA-MARIE", ine: after), Pupil("New"));
        var third = File(Pupil("Changed", ine: "123456789AB"), Pupil("New"));

        Assert.Equal(("enrolled", 1), (Said(changes.Named)[0].Split(' ')[0], changes.Unchanged));
        Assert.Empty(changes.Withdrawn);
        Assert.Equal((0, 2), (third.Named.Count, third.Unchanged));
    }

    [Fact]
    public void Given_homonyms_with_INE_of_their_own_When_they_come_Then_they_are_two_pupils()
    {
        var first = File(Pupil("Léa", ine: "111111111AA"), Pupil("Léa", ine: "222222222AA"));

        var second = File(Pupil("Léa", ine: "222222222AA"));

        Assert.Equal(2, first.Named.Count);
        Assert.Equal(Subjects(first.Named)[0], Assert.Single(second.Withdrawn).Subject);
    }

    [Fact]
    public void Given_homonyms_that_are_known_When_a_line_has_no_INE_Then_it_is_rejected_and_nobody_is_withdrawn()
    {
        File(Pupil("Léa", ine: "111111111AA"), Pupil("Léa", ine: "222222222AA"));

        var changes = File(Pupil("Léa"));

        Assert.Equal(2, Assert.Single(changes.Rejected).Line);
        Assert.Equal((0, 0, 2), (changes.Named.Count, changes.Withdrawn.Count, changes.Missing));
    }

    [Fact]
    public void Given_a_pupil_twice_in_a_file_When_the_lines_agree_Then_the_second_changes_nothing_else_it_is_rejected()
    {
        var agreeing = File(Pupil("Léa"), Pupil("LÉA"), Pupil("Zoé", ine: "111111111AA"), Pupil("Zoé"));
        var contradicting = File(Pupil("Léa"), Pupil("Léa", SchoolLevel.CE2), Pupil("Zoé", ine: "111111111AA"), Pupil("Another", className: "CM1", ine: "111111111AA"));

        Assert.Equal((2, 2, 0), (agreeing.Named.Count, agreeing.Unchanged, agreeing.Rejected.Count));
        Assert.Equal([3L, 5L], contradicting.Rejected.Select(rejected => rejected.Line));
        Assert.Equal((0, 2), (contradicting.Named.Count, contradicting.Unchanged));
    }

    [Fact]
    public void Given_rejected_lines_in_a_file_When_pupils_are_missing_Then_nobody_is_withdrawn_until_a_whole_file_comes()
    {
        File(Pupil("Léa"), Pupil("Léo"));

        var doubtful = File(1, Pupil("Léo"));
        var sound = File(Pupil("Léo"));

        Assert.Equal((1, 0), (doubtful.Missing, doubtful.Withdrawn.Count));
        Assert.Equal(["withdrawn CP 35085 2026-11-24"], Said(sound.Withdrawn));
    }

    [Fact]
    public void Given_a_format_without_INE_and_class_When_it_follows_one_that_has_them_Then_what_is_known_stays()
    {
        File(Pupil("Léa", ine: "111111111AA", className: "CP A"));

        var without = File(Pupil("Léa", className: null));
        var with = File(Pupil("Corrected", ine: "111111111AA", className: "CP A"));

        Assert.Equal((0, 0, 0, 0), (without.Named.Count, without.Withdrawn.Count, with.Named.Count, with.Withdrawn.Count));
    }

    [Fact]
    public void Given_a_first_name_given_up_by_a_correction_When_a_new_pupil_has_it_Then_the_subject_is_another()
    {
        var first = File(Pupil("Léa"));
        File(Pupil("Léa", ine: "111111111AA"));
        File(Pupil("Léna", ine: "111111111AA"));

        var third = File(Pupil("Léna", ine: "111111111AA"), Pupil("Léa"));

        Assert.NotEqual(first.Named[0].Subject, Assert.Single(third.Named).Subject);
    }

    [Fact]
    public void Given_a_state_When_it_is_saved_Then_it_names_nobody_and_is_read_back()
    {
        File(Pupil("Léa", ine: "111111111AA", className: "CP de Mme Durand"));
        File(Pupil("Léo"));
        using var folder = new TemporaryFolder();
        var path = RollState.PathOf(folder.FullPath, s_roll);

        _state.Save(path);
        _state.Save(path);

        Assert.EndsWith("/rolls/0350122T-2026.json", path, StringComparison.Ordinal);
        var json = System.IO.File.ReadAllText(path);
        foreach (var personal in new[] { "MARTIN", "Léa", "L\\u00E9a", "Durand", "111111111AA", "2019" }) Assert.DoesNotContain(personal, json, StringComparison.OrdinalIgnoreCase);
        Assert.Equal(JsonSerializer.Serialize(_state, ContractJson.Options), JsonSerializer.Serialize(RollState.Load(path), ContractJson.Options));
        Assert.Single(Directory.GetFiles(Path.GetDirectoryName(path)!));
    }

    [Fact]
    public void Given_many_files_When_they_were_accepted_Then_the_state_knows_the_last_hundred_each_once()
    {
        for (var i = 0; i < 120; i++) File(Pupil("Léa", className: $"{i}"));
        File(Pupil("Léa", className: "119"));

        Assert.Equal((100, 100), (_state.Imports.Count, _state.Imports.Select(accepted => accepted.Hash).Distinct().Count()));
    }

    private static Pupil Pupil(string firstNames, SchoolLevel level = SchoolLevel.CP, CommuneCode? residence = null, string? ine = null, string? className = "CP A") => new(
        level, residence ?? s_combourg, new PupilPersonal(new Person("MARTIN", firstNames, BirthDate: PartialDate.Parse("2019-03-14")), ine, className));

    private static List<string> Said(IEnumerable<CloudEvent> events) => [.. events.Select(said =>
    {
        var day = said.Data.EnumerateObject().Single(field => field.Name.EndsWith("On", StringComparison.Ordinal)).Value;
        var kind = said.Type.Split('.')[^2].Split('-')[1];
        return $"{kind} {said.Data.GetProperty("level")} {said.Data.GetProperty("residenceCommune")} {day}";
    })];

    private static List<string> Subjects(IEnumerable<CloudEvent> events) => [.. events.Select(said => said.Subject)];

    private RollChanges File(params IEnumerable<Pupil> pupils) => File(0, pupils);

    private RollChanges File(long rejected, params IEnumerable<Pupil> pupils)
    {
        var records = pupils.Select((pupil, index) => new PupilRecord(index + 2, s_combourg, s_roll, pupil)).ToList();
        var hash = string.Join(',', records.Select(record => $"{record.Pupil.Level}{record.Pupil.Personal.ClassName}{record.Pupil.Personal.Pupil.FirstNames}"));
        var file = new AcceptedFile(Guid.CreateVersion7(), "onde-pupils", Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(System.Text.Encoding.UTF8.GetBytes(hash))), _takenAt);
        var changes = RollComparison.Compare(_state, new RollFile(s_combourg, s_roll, file, records, rejected, []));
        _state = changes.State;
        foreach (var said in changes.Named.Concat(changes.Withdrawn)) Assert.NotNull(Connector.Intake.Intake.Check(JsonSerializer.SerializeToElement(said, ContractJson.Options), s_combourg, out _));
        return changes;
    }
}
