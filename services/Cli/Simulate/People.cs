using System.Globalization;
using System.Text;
using Intercommunalite.Contracts;

namespace Intercommunalite.Cli.Simulate;

/// <summary>Made-up people, so that what carries names is exercised. Addresses and telephone numbers reach nobody.</summary>
internal static class People
{
    private static readonly string[] s_last =
    [
        "Martin", "Bernard", "Thomas", "Petit", "Robert", "Richard", "Durand", "Dubois", "Moreau", "Laurent", "Simon", "Michel", "Lefèvre", "Leroy",
        "Roux", "David", "Bertrand", "Morel", "Fournier", "Girard", "Bonnet", "Dupont", "Lambert", "Fontaine", "Rousseau", "Vincent", "Müller", "Faure",
        "Mercier", "Blanc", "Guérin", "Boyer", "Garnier", "Chevalier", "François", "Legrand", "Gauthier", "Garcia", "Perrin", "Robin", "Clément", "Morin",
        "Nicolas", "Henry", "Roussel", "Mathieu", "Gautier", "Masson", "Marchand", "Duval", "Denis", "Dumont", "Marie", "Lemaire", "Noël", "Meyer", "Dufour",
        "Meunier", "Brun", "Blanchard", "Giraud", "Joly", "Rivière", "Lucas", "Brunet", "Gaillard", "Barbier", "Arnaud", "Martínez", "Gérard", "Da Silva",
        "Le Goff", "Le Gall", "Nguyen", "Benali", "Diallo", "L'Hostis", "Saint-Martin", "N'Diaye", "Kowalski",
    ];

    private static readonly string[] s_male =
    [
        "Gabriel", "Léo", "Raphaël", "Maël", "Louis", "Noah", "Jules", "Adam", "Arthur", "Isaac", "Lucas", "Liam", "Hugo", "Sacha", "Eden", "Paul", "Nathan",
        "Aaron", "Mohamed", "Ethan", "Tom", "Théo", "Malo", "Gaspard", "Jean", "Pierre", "Jean-Baptiste", "Philippe", "André", "Yann", "Loïc", "Éric",
    ];

    private static readonly string[] s_female =
    [
        "Louise", "Jade", "Ambre", "Alba", "Emma", "Rose", "Alice", "Romy", "Anna", "Lina", "Léna", "Mia", "Lou", "Julia", "Chloé", "Agathe", "Inès", "Zoé",
        "Juliette", "Nina", "Éléonore", "Maëlys", "Fatima", "Marie", "Jeanne", "Françoise", "Monique", "Anne-Marie", "Nathalie", "Soizic", "Gwenaëlle", "Hélène",
    ];

    private static readonly string[] s_streets =
    [
        "rue des Tilleuls", "rue de l'Église", "place de la Mairie", "rue du Stade", "allée des Genêts", "route de la Gare", "impasse du Lavoir",
        "rue Victor-Hugo", "avenue de la République", "chemin des Prés", "rue des Écoles", "lieu-dit La Ville-Neuve",
    ];

    private static readonly string[] s_asciiLast = [.. s_last.Select(Ascii)];
    private static readonly string[] s_asciiMale = [.. s_male.Select(Ascii)];
    private static readonly string[] s_asciiFemale = [.. s_female.Select(Ascii)];

    /// <summary>An adult as an office knows them: with address and often e-mail and telephone.</summary>
    public static Person Resident(Dice dice, DateOnly today, string town, int leastAge = 20, int mostAge = 75) =>
        Resident(dice, today, town, leastAge, mostAge, dice.Below(s_last.Length));

    /// <summary>An adult as an act names them, born somewhere, some time.</summary>
    public static Person Named(Dice dice, DateOnly today, int leastAge, int mostAge, string? birthPlace)
    {
        var (first, sex, _) = First(dice);
        return new Person(s_last[dice.Below(s_last.Length)], first, Sex: sex, BirthDate: Born(dice, today, leastAge, mostAge), BirthPlace: birthPlace,
            BirthCountry: birthPlace is null ? "Maroc" : null);
    }

    /// <summary>A newborn.</summary>
    public static Person Newborn(Dice dice, DateOnly born, string town)
    {
        var (first, sex, _) = First(dice);
        if (dice.Chance(0.6)) first += " " + (sex == Sex.Male ? dice.Of(s_male) : dice.Of(s_female));
        return new Person(s_last[dice.Below(s_last.Length)], first, Sex: sex, BirthDate: PartialDate.Of(born), BirthPlace: town);
    }

    /// <summary>The parent who answers for a child of the family, and the child.</summary>
    public static (Person Responsible, Person Child) Family(Dice dice, DateOnly today, int childBirthYear, string town)
    {
        var name = dice.Below(s_last.Length);
        var (first, sex, _) = First(dice);
        var born = new DateOnly(childBirthYear, 1, 1).AddDays(dice.Below(365));
        var child = new Person(s_last[name], first, Sex: sex, BirthDate: PartialDate.Of(born));
        return (Resident(dice, today, town, 26, 52, name), child);
    }

    /// <summary>The same person under another name.</summary>
    public static Person Renamed(Person before, bool lastName, Dice dice) => lastName
        ? before with { LastName = dice.Of(s_last) }
        : before with { FirstNames = dice.Of(before.Sex == Sex.Male ? s_male : s_female) };

    /// <summary>A teacher's name, which often is that of the class.</summary>
    public static string ClassName(Dice dice) => $"Classe de {(dice.Chance(0.8) ? "Mme" : "M.")} {dice.Of(s_last)}";

    public static string Email(Dice dice)
    {
        var (_, _, ascii) = First(dice);
        return $"{ascii}.{dice.Of(s_asciiLast)}{dice.Below(1000)}@example.org";
    }

    private static Person Resident(Dice dice, DateOnly today, string town, int leastAge, int mostAge, int name)
    {
        var (first, sex, ascii) = First(dice);
        return new Person(
            s_last[name], first, Sex: sex, BirthDate: Born(dice, today, leastAge, mostAge),
            Address: $"{dice.Between(1, 120)} {dice.Of(s_streets)}, {town}",
            Email: dice.Chance(0.8) ? $"{ascii}.{s_asciiLast[name]}{dice.Below(1000)}@example.org" : null,
            // A range that the regulator keeps free for films and the like (Arcep, 06 39 98).
            Phone: dice.Chance(0.7) ? $"+33 6 39 98 {dice.Below(100):D2} {dice.Below(100):D2}" : null);
    }

    private static (string Name, Sex Sex, string Ascii) First(Dice dice)
    {
        var male = dice.Chance(0.5);
        var index = dice.Below(male ? s_male.Length : s_female.Length);
        return male ? (s_male[index], Sex.Male, s_asciiMale[index]) : (s_female[index], Sex.Female, s_asciiFemale[index]);
    }

    // Some files know the year or the month only.
    private static PartialDate Born(Dice dice, DateOnly today, int leastAge, int mostAge)
    {
        var day = today.AddDays(-dice.Between(leastAge * 365, mostAge * 365));
        var (month, dayOfMonth) = dice.Unit() switch
        {
            < 0.004 => ((int?)null, (int?)null),
            < 0.01 => (day.Month, null),
            _ => (day.Month, day.Day),
        };
        return PartialDate.TryCreate(day.Year, month, dayOfMonth, out var born) ? born : throw new InvalidOperationException();
    }

    private static string Ascii(string name) => new([.. name.Normalize(NormalizationForm.FormD)
        .Where(c => CharUnicodeInfo.GetUnicodeCategory(c) != UnicodeCategory.NonSpacingMark && (char.IsAsciiLetter(c) || c == '-'))
        .Select(char.ToLowerInvariant)]);
}
