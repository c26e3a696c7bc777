using System.Globalization;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Schools;
using Intercommunalite.Contracts.Territories;

namespace Intercommunalite.Cli.Simulate;

/// <summary>A school: a run of levels.</summary>
internal sealed record School(Commune Commune, Uai Uai, string Name, SchoolLevel First, SchoolLevel Last)
{
    public bool Teaches(SchoolLevel level) => level >= First && level <= Last;
}

/// <summary>Which commune has which schools, and where the pupils of each commune go.</summary>
internal sealed class SchoolMap
{
    /// <summary>Share of pupils that are schooled outside their commune of residence.</summary>
    internal const double Outside = 1.0 / 8;

    /// <summary>Pupils from other territories, by pupil of the territory.</summary>
    internal const double FromElsewhere = 0.015;

    internal const double PupilsPerInhabitant = 0.095;

    private const int LeastPopulation = 400;
    private const int PupilsInASchool = 170;
    private const int Neighbours = 3;

    private static readonly string[] s_names =
    [
        "Jules-Ferry", "Jean-Jaurès", "Jacques-Prévert", "Marie-Curie", "Louise-Michel", "Victor-Hugo", "Simone-Veil", "du Bourg", "des Tilleuls",
        "Pierre-Brossolette", "Paul-Éluard", "du Petit-Prince", "Joséphine-Baker", "de la Forêt", "Robert-Desnos", "Olympe-de-Gouges",
    ];

    private readonly Dictionary<CommuneCode, School[]> _schools = [];
    private readonly Dictionary<CommuneCode, Commune[]> _neighbours = [];
    private readonly ILookup<CommuneCode, Commune> _senders;

    public SchoolMap(SimulatedTerritory territory)
    {
        // The Ministry numbers schools by département; the territory's take a run of free-looking numbers.
        var numbers = new Dictionary<string, int>();
        foreach (var commune in territory.Epci.Communes.Where(commune => commune.Population > LeastPopulation || commune == territory.Centre))
        {
            var dice = territory.Key.With("schools").With(commune.Code.ToString()).Dice();
            _schools.Add(commune.Code, Found(commune, dice, numbers, territory.Epci.Siren));
        }

        Commune[] hosts = [.. territory.Epci.Communes.Where(commune => _schools.ContainsKey(commune.Code))];
        var totals = SimulatedTerritory.RunningTotals(hosts.Select(host => (double)host.Population));
        foreach (var commune in territory.Epci.Communes)
        {
            var dice = territory.Key.With("neighbours").With(commune.Code.ToString()).Dice();
            _neighbours.Add(commune.Code, [.. Enumerable.Range(0, 4 * Neighbours)
                .Select(_ => hosts[dice.Weighted(totals)]).Where(host => host != commune).Distinct().Take(Neighbours)]);
        }

        _senders = _neighbours
            .SelectMany(pair => pair.Value.Select(host => (Host: host.Code, From: territory.Epci.Member(pair.Key)!)))
            .ToLookup(pair => pair.Host, pair => pair.From);
        Leaving = ShareLeaving(territory, hosts);
    }

    /// <summary>Share of the pupils of a commune with schools that go to school elsewhere.</summary>
    public double Leaving { get; }

    public IEnumerable<School> All => _schools.Values.SelectMany(schools => schools);

    /// <summary>The schools of a commune, perhaps none.</summary>
    public IReadOnlyList<School> Of(CommuneCode commune) => _schools.GetValueOrDefault(commune, []);

    /// <summary>Other communes whose pupils may go to school in this one.</summary>
    public IEnumerable<Commune> Senders(CommuneCode host) => _senders[host];

    /// <summary>The commune in which a pupil goes to school.</summary>
    public CommuneCode Host(CommuneCode residence, Dice dice)
    {
        var leaves = dice.Chance(_schools.ContainsKey(residence) ? Leaving : 1);
        var neighbours = _neighbours[residence];
        return !leaves || neighbours.Length == 0 ? residence : dice.Of(neighbours).Code;
    }

    /// <summary>The letter that checks a school's number: its remainder by 23.</summary>
    internal static Uai Uai(int number) => Contracts.Uai.Parse($"{number:D7}{"ABCDEFGHJKLMNPRSTUVWXYZ"[number % 23]}");

    private static School[] Found(Commune commune, Dice dice, Dictionary<string, int> numbers, string siren)
    {
        var departement = Academy(SimulatedTerritory.Departement(commune.Code));
        var count = Math.Max(1, (int)Math.Round(commune.Population * PupilsPerInhabitant / PupilsInASchool));
        var firstName = dice.Below(s_names.Length);
        var schools = new School[count];
        for (var i = 0; i < count; i++)
        {
            numbers.TryAdd(departement, int.Parse(siren[5..], CultureInfo.InvariantCulture) % 5000);
            var number = numbers[departement]++ % 10_000;
            var (kind, first, last) = count == 1 ? ("primaire", SchoolLevel.PS, SchoolLevel.CM2)
                : i % 2 == 0 ? ("maternelle", SchoolLevel.PS, SchoolLevel.GS)
                : ("élémentaire", SchoolLevel.CP, SchoolLevel.CM2);
            // A name serves a pair: the nursery school and the elementary school beside it.
            var (round, pair) = Math.DivRem(i / 2, s_names.Length);
            var name = $"École {kind} {s_names[(firstName + pair) % s_names.Length]}{(round > 0 ? $" {round + 1}" : "")}";
            var uai = Uai((int.Parse(departement, CultureInfo.InvariantCulture) * 10_000) + number);
            schools[i] = new School(commune, uai, name, first, last);
        }

        return schools;
    }

    // Corsica's letters have numbers of their own in the Ministry's directory.
    private static string Academy(string departement) => departement switch
    {
        "2A" => "620",
        "2B" => "720",
        _ => departement.PadLeft(3, '0'),
    };

    private static double ShareLeaving(SimulatedTerritory territory, Commune[] hosts)
    {
        if (hosts.Length < 2) return 0;
        double all = territory.Population, without = all - hosts.Sum(host => host.Population);
        // Those who must and those who come from elsewhere count towards the share.
        var wanted = (all * (1 + FromElsewhere) * Outside) - without - (all * FromElsewhere);
        return Math.Max(0, wanted / (all - without));
    }
}
