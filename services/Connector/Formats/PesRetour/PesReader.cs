using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Xml;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Payments;

namespace Intercommunalite.Connector.Formats.PesRetour;

/// <summary>
/// Reads one file from its first tag to its last, and keeps no more of it than the line of a titre that it is in. The invoice of a
/// line is told when its first collection begins, the debtor standing between the two, or when the line ends.
/// </summary>
internal sealed class PesReader
{
    /// <summary>The namespace of the root.</summary>
    public const string Namespace = "http://www.minefi.gouv.fr/cp/helios/pes_v2/Rev0/retour";

    private const string SourceSystem = "pes-retour";
    private const string Root = "PES_Retour";
    private const string Receipts = "PES_RecetteRetour";
    private const string Kind = "PESRETOUR_REC";
    private const int MaxDepth = 32;

    // Collections without a number of their own, by date and amount, that are kept while their line is read.
    private const int MaxUnnumbered = 10_000;

    private static readonly XmlReaderSettings s_settings = new()
    {
        DtdProcessing = DtdProcessing.Prohibit,
        XmlResolver = null,
        IgnoreComments = true,
        IgnoreProcessingInstructions = true,
        IgnoreWhitespace = true,
    };

    private static readonly Advice s_nothingToDo = new("Rien à faire si cela est voulu.", "Nothing to do if this is meant.");

    private static readonly Reason s_notPes = new(
        $"Le fichier n'est pas un PES Retour : la racine {Root} dans l'espace de noms {Namespace} est attendue.",
        $"The file is no PES Retour: the root {Root} in the namespace {Namespace} expected.",
        Advice.OtherFile);

    private static readonly Reason s_aller = new(
        "Le fichier est un PES Aller, que la commune envoie au Trésor ; le PES Retour, que le Trésor lui renvoie, est attendu.",
        "The file is a PES Aller, which the commune sends to the Trésor; the PES Retour, which the Trésor sends back, expected.",
        Advice.OtherFile);

    private static readonly Reason s_noReceipts = new(
        $"Le fichier ne contient pas de {Receipts} (un retour de dépenses ?).", $"The file has no {Receipts} (is it a return of expenses?).", Advice.OtherFile);

    private static readonly Reason s_tooDeep = new(
        $"Plus de {MaxDepth} balises l'une dans l'autre : ce n'est pas un PES.", $"More than {MaxDepth} tags inside one another: this is no PES.", Advice.OtherFile);

    private static readonly Reason s_kind = new(
        $"{Kind} attendu ; le fichier est lu tout de même", $"{Kind} expected; the file is read all the same", s_nothingToDo);

    private static readonly Reason s_regularisation = new(
        "encaissements sans titre, que le Trésor demande de régulariser : non comptés, ils le seront avec le titre émis après encaissement",
        "collections without an invoice, which the Trésor asks to regularise: not counted, they will be with the invoice that is issued for them",
        new("Émettez les titres demandés.", "Issue the invoices that are asked for."));

    private static readonly Reason s_reduction = new(
        "annulation ou réduction : le fichier ne dit pas de quel titre, rien n'est donc réduit",
        "a cancellation or reduction: the file does not say of which invoice, so nothing is reduced",
        new("Enregistrez-la dans le logiciel de facturation, qui transmet les réductions.", "Enter it in the billing software, which sends reductions."));

    private static readonly Reason s_refusedByTrésor = new(
        "titre rejeté par le Trésor à cette date : non compté comme émis", "the Trésor rejected the invoice on this date: not counted as issued",
        new("Émettez un nouveau titre s'il y a lieu.", "Issue another invoice if need be."));

    private static readonly Reason s_noNature = new(
        "un compte de 10 lettres et chiffres au plus est attendu", "an account of 10 letters and digits at most expected", Advice.Correct);

    private static readonly Reason s_tooManyUnnumbered = new(
        $"plus de {MaxUnnumbered} encaissements sans IdEncaissement sur une ligne", $"more than {MaxUnnumbered} collections without IdEncaissement on a line", Advice.Correct);

    private static readonly Reason s_unreadableTotal = new("ce total annoncé n'est pas lisible ; il n'est pas comparé", "this stated total cannot be read; it is not compared", s_nothingToDo);

    private readonly Stream _file;
    private readonly ImportContext _context;
    private readonly CancellationToken _cancellation;
    private readonly Queue<FormatRecord> _found = new();

    // Names of the open tags, by depth.
    private readonly string[] _path = new string[MaxDepth + 1];

    // Line of the tag read last.
    private long _at = 1;
    private string? _idColl;
    private string? _codCol;
    private string? _codBud;
    private PesHeader? _header;
    private EventSource _source;
    private bool _hasReceipts;
    private Slip _slip = new();
    private Piece _piece = new();
    private PieceLine _line = new();
    private Collection _collection = new();

    public PesReader(Stream file, ImportContext context, CancellationToken cancellation) => (_file, _context, _cancellation) = (file, context, cancellation);

    /// <summary>Reads the file.</summary>
    /// <exception cref="FileRefusedException">It is no PES Retour Recette, or it is not known whose. No event was given then.</exception>
    public IEnumerable<FormatRecord> Read()
    {
        using var text = new PesText(_file, _cancellation);
        XmlReader? xml = null;
        try
        {
            for (var goesOn = true; goesOn;)
            {
                FormatRecord? end = null;
                try
                {
                    xml ??= Open(text);
                    goesOn = xml.Read();
                    if (goesOn) Take(xml);
                }
                catch (XmlException broken)
                {
                    if (_path[0] is null) throw new FileRefusedException(s_notPes);
                    end = new RejectedRecord(Math.Max(1, broken.LineNumber), Fault.Of("", Reason.CutOff));
                }
                catch (FileRefusedException stop) when (_header is not null)
                {
                    end = new RejectedRecord(_at, Fault.Of("", stop.Reason));
                }

                while (_found.TryDequeue(out var record)) yield return record;
                if (end is null) continue;
                if (_header is null) throw new FileRefusedException(Reason.CutOff);
                yield return end;
                yield break;
            }
        }
        finally
        {
            xml?.Dispose();
        }

        if (!_hasReceipts) throw new FileRefusedException(s_noReceipts);
    }

    private static XmlReader Open(PesText text)
    {
        var settings = s_settings.Clone();
        settings.NameTable = new PesNames();
        return XmlReader.Create(text, settings);
    }

    private void Take(XmlReader xml)
    {
        _at = ((IXmlLineInfo)xml).LineNumber;
        switch (xml.NodeType)
        {
            case XmlNodeType.Element:
                var depth = xml.Depth;
                if (depth > MaxDepth) throw new FileRefusedException(s_tooDeep);
                var name = xml.LocalName;
                if (depth == 0) CheckRoot(name, xml.NamespaceURI);
                var isEmpty = xml.IsEmptyElement;
                _path[depth] = name;
                // What stands beside the receipts is another return: of expenses.
                if (depth > 0 && IsMeant(depth))
                {
                    Begin(name);
                    TakeValue(_path[depth - 1], name, xml);
                }

                if (isEmpty && IsMeant(depth)) End(name);
                break;
            case XmlNodeType.EndElement:
                if (IsMeant(xml.Depth)) End(xml.LocalName);
                break;
        }
    }

    private bool IsMeant(int depth) => depth == 0 || _path[1] is Receipts or "Enveloppe" or "EnTetePES";

    private static void CheckRoot(string name, string space)
    {
        if (name == Root && space == Namespace) return;
        throw new FileRefusedException(name == "PES_Aller" ? s_aller : s_notPes);
    }

    private void Begin(string name)
    {
        switch (name)
        {
            case Receipts:
                _hasReceipts = true;
                break;
            case "Bordereau":
                if (_header is null) SetHeader();
                _slip = new Slip();
                break;
            case "Piece":
                _piece = new Piece { Line = _at };
                break;
            case "LigneDePiece":
                _line = new PieceLine { Number = _at };
                break;
            case "InfoLignePiece":
                if (_line.IsBegun) Issue();
                _line = new PieceLine { Number = _at, IsBegun = true };
                break;
            case "Tiers":
                _line.Debtors++;
                break;
            case "Recouvrement":
                Issue();
                _collection = new Collection { Line = _at };
                break;
        }
    }

    private void SetHeader()
    {
        _header = PesHeader.Of(_idColl, _codCol, _codBud, _context.Commune);
        _source = new EventSource(_header.Commune, SourceSystem);
    }

    private void End(string name)
    {
        switch (name)
        {
            case "EnTetePES":
                SetHeader();
                break;
            case "BlocBordereau" when _slip.Type is "04" or "05":
                _slip.IsPassedOver = true;
                Remark(_slip.TypeLine, Fault.OfCode("BlocBordereau/TypBord", _slip.Type, s_regularisation));
                break;
            case "BlocPiece" when _piece.RejectedOn is { } rejectedOn && !_slip.IsPassedOver:
                Remark(_piece.Line, Fault.OfCode("BlocPiece/DtePceRej", rejectedOn, s_refusedByTrésor));
                break;
            case "Recouvrement":
                Collect();
                break;
            case "LigneDePiece":
                EndLine();
                _line = new PieceLine();
                break;
            case "Piece":
                _slip.Pieces++;
                _piece = new Piece();
                break;
            case "Bordereau":
                EndSlip();
                _slip = new Slip();
                break;
        }
    }

    private void TakeValue(string parent, string name, XmlReader xml)
    {
        switch (parent)
        {
            case "Parametres" when name == "TypFic":
                if (xml.GetAttribute("V") is { } kind && kind.Trim() != Kind) Remark(_at, Fault.Of("Parametres/TypFic", s_kind));
                break;
            case "EnTetePES":
                if (name == "IdColl") _idColl = xml.GetAttribute("V");
                else if (name is "CodCol" or "CodColl") _codCol = xml.GetAttribute("V");
                else if (name == "CodBud") _codBud = xml.GetAttribute("V");
                break;
            case "BlocBordereau":
                TakeSlip(name, xml);
                break;
            case "BlocPiece":
                TakePiece(name, xml);
                break;
            case "InfoLignePiece" or "InfoRecouvrement":
                TakeLine(name, xml);
                break;
            case "InfoTiers" or "Adresse" when _line.Debtors == 1:
                TakeDebtor(name, xml);
                break;
            case "Recouvrement":
                if (name == "DteReco") _collection.Date = xml.GetAttribute("V");
                else if (name == "IdEncaissement") _collection.Number = xml.GetAttribute("V");
                else if (name == "MtReco") _collection.Amount = xml.GetAttribute("V");
                break;
        }
    }

    private void TakeSlip(string name, XmlReader xml)
    {
        switch (name)
        {
            case "Exer": _slip.Year = xml.GetAttribute("V"); break;
            case "IdBord": _slip.Number = xml.GetAttribute("V"); break;
            case "DteBordEm": _slip.IssuedOn = xml.GetAttribute("V"); break;
            case "TypBord": (_slip.Type, _slip.TypeLine) = (xml.GetAttribute("V")?.Trim(), _at); break;
            case "NbrPce": _slip.StatedPieces = new Stated("BlocBordereau/NbrPce", _at, xml.GetAttribute("V")); break;
            case "MtBordHt": _slip.StatedNet = new Stated("BlocBordereau/MtBordHt", _at, xml.GetAttribute("V")); break;
            case "MtBordTVA": _slip.StatedTax = new Stated("BlocBordereau/MtBordTVA", _at, xml.GetAttribute("V")); break;
        }
    }

    private void TakePiece(string name, XmlReader xml)
    {
        switch (name)
        {
            case "IdPce": _piece.Number = xml.GetAttribute("V"); break;
            case "NatPce": _piece.Nature = xml.GetAttribute("V")?.Trim(); break;
            case "DteAsp": _piece.NotifiedOn = xml.GetAttribute("V"); break;
            case "DtePceInt": _piece.EnteredOn = xml.GetAttribute("V"); break;
            case "DtePcePec": _piece.TakenOn = xml.GetAttribute("V"); break;
            case "DtePceRej": _piece.RejectedOn = xml.GetAttribute("V"); break;
        }
    }

    private void TakeLine(string name, XmlReader xml)
    {
        switch (name)
        {
            case "IdLigne": _line.Id = xml.GetAttribute("V"); break;
            case "Nature": _line.Nature = xml.GetAttribute("V")?.Trim(); break;
            case "MtHT": _line.Net = xml.GetAttribute("V"); break;
            case "MtTVA": _line.Tax = xml.GetAttribute("V"); break;
            case "NbrReco": _line.StatedCollections = new Stated("InfoRecouvrement/NbrReco", _at, xml.GetAttribute("V")); break;
            case "MtRecoTot": _line.StatedCollected = new Stated("InfoRecouvrement/MtRecoTot", _at, xml.GetAttribute("V")); break;
        }
    }

    private void TakeDebtor(string name, XmlReader xml)
    {
        switch (name)
        {
            case "Nom": _line.LastName = xml.GetAttribute("V"); break;
            case "Prenom": _line.FirstNames = xml.GetAttribute("V"); break;
            case "Adr1": _line.Address1 = xml.GetAttribute("V"); break;
            case "Adr2": _line.Address2 = xml.GetAttribute("V"); break;
            case "Adr3": _line.Address3 = xml.GetAttribute("V"); break;
            case "CP": _line.PostalCode = xml.GetAttribute("V"); break;
            case "Ville": _line.Town = xml.GetAttribute("V"); break;
        }
    }

    /// <summary>Tells the invoice of the line, once.</summary>
    private void Issue()
    {
        if (_line.IsIssued) return;
        _line.IsIssued = true;
        var faults = new List<Fault>();
        _line.Subject = Subject(faults);
        if (_slip.IsPassedOver || _header is null) return;
        if (_slip.Type == "02") faults.Add(Fault.OfCode("BlocBordereau/TypBord", _slip.Type, s_reduction));
        else if (_piece.Nature is "06" or "10") faults.Add(Fault.OfCode("BlocPiece/NatPce", _piece.Nature, s_reduction));
        if (_piece.RejectedOn is not null && faults.Count == 0)
        {
            _slip.HasRejects = true;
            return;
        }

        var net = PesValues.Amount("InfoLignePiece/MtHT", _line.Net, faults);
        var tax = PesValues.AmountOrNothing("InfoLignePiece/MtTVA", _line.Tax, faults);
        var amount = PesValues.Sum("InfoLignePiece/MtHT", _line.Net, net, tax, faults);
        var issuedOn = IssuedOn(faults);
        var service = Service(faults);
        var debtor = Debtor(faults);
        (_slip.Net, _slip.Tax) = (_slip.Net + net, _slip.Tax + tax);
        if (faults.Count > 0)
        {
            _slip.HasRejects = true;
            Reject(_line.Number, faults);
            return;
        }

        var invoice = new InvoiceIssued(service, amount, issuedOn) { Personal = debtor is null ? null : new DebtorPersonal(debtor) };
        var id = PesKey.Id(
            _line.Subject, amount.Value.ToString(CultureInfo.InvariantCulture), issuedOn.ToString("O", CultureInfo.InvariantCulture), service.ToString(),
            debtor?.LastName, debtor?.FirstNames, debtor?.Address);
        Found(_line.Number, invoice, id, _line.Subject!, issuedOn);
    }

    /// <summary>Tells a collection.</summary>
    private void Collect()
    {
        if (_slip.IsPassedOver || _header is null) return;
        var faults = new List<Fault>();
        var subject = _line.Subject ?? Subject(faults);
        var date = PesValues.Date("Recouvrement/DteReco", _collection.Date, _context.TakenAt, faults);
        var amount = PesValues.Amount("Recouvrement/MtReco", _collection.Amount, faults);
        var number = string.IsNullOrWhiteSpace(_collection.Number) ? "" : PesValues.Number("Recouvrement/IdEncaissement", _collection.Number, faults);
        if (faults.Count == 0 && number.Length == 0 && !_line.TryNumber(date, amount, out number))
            faults.Add(Fault.Of("Recouvrement/IdEncaissement", s_tooManyUnnumbered));
        (_line.Collections, _line.Collected) = (_line.Collections + 1, _line.Collected + amount);
        if (faults.Count > 0)
        {
            _line.HasRejects = true;
            Reject(_collection.Line, faults);
            return;
        }

        var collection = PesKey.Collection(subject!, number!);
        var id = PesKey.Id(collection, amount.ToString(CultureInfo.InvariantCulture), date.ToString("O", CultureInfo.InvariantCulture));
        Found(_collection.Line, new PaymentCollected(new Cents(amount), date, subject), id, collection, date);
    }

    private void EndLine()
    {
        Issue();
        if (_slip.IsPassedOver || _line.HasRejects) return;
        Compare(_line.StatedCollections, _line.Collections, isAmount: false, "encaissements de la ligne", "collections of the line");
        Compare(_line.StatedCollected, _line.Collected, isAmount: true, "somme des encaissements de la ligne", "sum of the line's collections");
    }

    private void EndSlip()
    {
        if (_slip.IsPassedOver) return;
        Compare(_slip.StatedPieces, _slip.Pieces, isAmount: false, "pièces du bordereau", "pieces of the slip");
        if (_slip.HasRejects) return;
        Compare(_slip.StatedNet, _slip.Net, isAmount: true, "somme des lignes du bordereau", "sum of the slip's lines");
        Compare(_slip.StatedTax, _slip.Tax, isAmount: true, "somme des TVA des lignes du bordereau", "sum of the slip's lines' VAT");
    }

    // A total that the file states may differ from what is in it: the Trésor leaves out lines that have not changed.
    private void Compare(Stated? stated, long found, bool isAmount, string french, string english)
    {
        if (stated is not { Text: { } text }) return;
        long value;
        var isReadable = isAmount ? PesValues.Amount(text, out value) is null : long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out value);
        if (!isReadable) Remark(stated.Line, Fault.OfCode(stated.Field, text, s_unreadableTotal));
        if (!isReadable || value == found) return;
        var shown = isAmount ? (found / 100m).ToString("0.00", CultureInfo.InvariantCulture) : found.ToString(CultureInfo.InvariantCulture);
        Remark(stated.Line, Fault.OfCode(stated.Field, text, new(
            $"total annoncé ; {french} dans le fichier : {shown}", $"stated total; {english} in the file: {shown}", s_nothingToDo)));
    }

    // Null when a part of the key cannot be read.
    private string? Subject(List<Fault> faults)
    {
        var before = faults.Count;
        var year = PesValues.Year("BlocBordereau/Exer", _slip.Year, faults);
        var slip = PesValues.Number("BlocBordereau/IdBord", _slip.Number, faults);
        var piece = PesValues.Number("BlocPiece/IdPce", _piece.Number, faults);
        var line = PesValues.Number("InfoLignePiece/IdLigne", _line.Id, faults);
        return faults.Count > before || _header is null ? null : PesKey.Invoice(_header, year, slip, piece, line);
    }

    // The commune issues an invoice with its slip, whose date never changes; the others come later, and stand in where it is absent:
    // entered at the Trésor, taken in charge, sent to the debtor.
    private DateOnly IssuedOn(List<Fault> faults)
    {
        var (field, text) = _slip.IssuedOn is not null ? ("BlocBordereau/DteBordEm", _slip.IssuedOn)
            : _piece.EnteredOn is not null ? ("BlocPiece/DtePceInt", _piece.EnteredOn)
            : _piece.TakenOn is not null ? ("BlocPiece/DtePcePec", _piece.TakenOn)
            : _piece.NotifiedOn is not null ? ("BlocPiece/DteAsp", _piece.NotifiedOn)
            : ("BlocBordereau/DteBordEm", null);
        return PesValues.Date(field, text, _context.TakenAt, faults);
    }

    // The account (M14, M57) says what was billed no closer than "7067, school and after-school services": canteen, after-school care
    // and music school alike. So the account itself is the service.
    private Slug Service(List<Fault> faults)
    {
        if (string.IsNullOrEmpty(_line.Nature)) return Slug.Parse("nature-unknown");
        if (_line.Nature.Length <= 10 && _line.Nature.All(char.IsAsciiLetterOrDigit)) return Slug.Parse($"nature-{_line.Nature.ToLowerInvariant()}");
        faults.Add(Fault.OfCode("InfoLignePiece/Nature", _line.Nature, s_noNature));
        return default;
    }

    // NC (non communiqué) stands for a name that is not told.
    private Person? Debtor(List<Fault> faults)
    {
        var lastName = PesValues.Personal("InfoTiers/Nom", _line.LastName, faults);
        var firstNames = PesValues.Personal("InfoTiers/Prenom", _line.FirstNames, faults);
        var town = string.Join(' ', Texts(PesValues.Personal("Adresse/CP", _line.PostalCode, faults), PesValues.Personal("Adresse/Ville", _line.Town, faults)));
        var address = string.Join(", ", Texts(
            PesValues.Personal("Adresse/Adr1", _line.Address1, faults), PesValues.Personal("Adresse/Adr2", _line.Address2, faults),
            PesValues.Personal("Adresse/Adr3", _line.Address3, faults), town));
        return lastName is null or "NC" ? null : new Person(lastName, firstNames == "NC" ? null : firstNames, Address: address.Length > 0 ? address : null);
    }

    private static IEnumerable<string?> Texts(params IEnumerable<string?> texts) => texts.Where(text => !string.IsNullOrEmpty(text));

    private void Found(long line, DomainEvent data, string id, string subject, DateOnly date) =>
        _found.Enqueue(new EventRecord(line, CloudEvent.Create(data, id, _source, subject, new DateTimeOffset(date, TimeOnly.MinValue, TimeSpan.Zero))));

    private void Reject(long line, List<Fault> faults) => _found.Enqueue(new RejectedRecord(line, _header!.Commune, faults));

    private void Remark(long line, Fault fault) => _found.Enqueue(new RemarkRecord(line, fault));

    /// <summary>A total as the file states it.</summary>
    private sealed record Stated(string Field, long Line, string? Text);

    /// <summary>A slip of titres (bordereau), and what was found in it.</summary>
    private sealed class Slip
    {
        public string? Year { get; set; }

        public string? Number { get; set; }

        public string? IssuedOn { get; set; }

        public string? Type { get; set; }

        public long TypeLine { get; set; }

        public Stated? StatedPieces { get; set; }

        public Stated? StatedNet { get; set; }

        public Stated? StatedTax { get; set; }

        public bool IsPassedOver { get; set; }

        public bool HasRejects { get; set; }

        public long Pieces { get; set; }

        public long Net { get; set; }

        public long Tax { get; set; }
    }

    /// <summary>A titre (pièce).</summary>
    private sealed class Piece
    {
        public long Line { get; init; }

        public string? Number { get; set; }

        public string? Nature { get; set; }

        public string? NotifiedOn { get; set; }

        public string? EnteredOn { get; set; }

        public string? TakenOn { get; set; }

        public string? RejectedOn { get; set; }
    }

    /// <summary>A line of a titre, and what was found in it.</summary>
    private sealed class PieceLine
    {
        private Dictionary<(DateOnly Date, long Amount), int>? _unnumbered;

        public long Number { get; init; }

        public bool IsBegun { get; init; }

        public bool IsIssued { get; set; }

        public string? Subject { get; set; }

        public string? Id { get; set; }

        public string? Nature { get; set; }

        public string? Net { get; set; }

        public string? Tax { get; set; }

        public int Debtors { get; set; }

        public string? LastName { get; set; }

        public string? FirstNames { get; set; }

        public string? Address1 { get; set; }

        public string? Address2 { get; set; }

        public string? Address3 { get; set; }

        public string? PostalCode { get; set; }

        public string? Town { get; set; }

        public Stated? StatedCollections { get; set; }

        public Stated? StatedCollected { get; set; }

        public bool HasRejects { get; set; }

        public long Collections { get; set; }

        public long Collected { get; set; }

        /// <summary>Numbers a collection that has no number.</summary>
        /// <returns>False when too many would have to be remembered.</returns>
        public bool TryNumber(DateOnly date, long amount, [NotNullWhen(true)] out string? number)
        {
            _unnumbered ??= [];
            var rank = _unnumbered.GetValueOrDefault((date, amount)) + 1;
            number = rank == 1 && _unnumbered.Count == MaxUnnumbered ? null : PesKey.Number(date, amount, rank);
            if (number is not null) _unnumbered[(date, amount)] = rank;
            return number is not null;
        }
    }

    /// <summary>A collection (recouvrement).</summary>
    private sealed class Collection
    {
        public long Line { get; init; }

        public string? Date { get; set; }

        public string? Number { get; set; }

        public string? Amount { get; set; }
    }
}
