namespace StableDiffusion.Ilgpu.Text;

/// <summary>
/// CLIP's tokenizer: text to token ids, equal to those of Hugging Face's CLIPTokenizer where ftfy is not installed.
/// Instances hold no state and may be shared between threads.
/// </summary>
internal sealed class ClipTokenizer
{
    private static readonly Lazy<ClipTokenizer> BuiltInTokenizer = new(() => new ClipTokenizer(BuiltInTable.Read()));

    private readonly BytePairTable table;
    private readonly ExtraToken[] extra;

    private ClipTokenizer(BytePairTable table, params ExtraToken[] extra) => (this.table, this.extra) = (table, extra);

    /// <summary>The tokenizer with CLIP's own table of 49,408 tokens, for models that bring none.</summary>
    public static ClipTokenizer BuiltIn => BuiltInTokenizer.Value;

    /// <summary>The id that opens every prompt, <c>&lt;|startoftext|&gt;</c>.</summary>
    public int StartOfText => table.StartOfText;

    /// <summary>The id that closes every prompt, <c>&lt;|endoftext|&gt;</c>.</summary>
    public int EndOfText => table.EndOfText;

    /// <summary>The number of tokens; ids run from 0 to one less. A text encoder needs an embedding for each.</summary>
    public int VocabularySize => table.Count;

    /// <summary>Reads a tokenizer folder's <c>vocab.json</c> and <c>merges.txt</c>.</summary>
    /// <exception cref="StableDiffusionException">A file is missing or damaged.</exception>
    public static ClipTokenizer Load(string vocabularyPath, string mergesPath) =>
        new(VocabularyFiles.Read(vocabularyPath, mergesPath));

    /// <summary>The same tokenizer with more tokens beside its vocabulary; where several could stand, the longest text counts.</summary>
    public ClipTokenizer With(IEnumerable<ExtraToken> tokens) => new(table, [.. extra.Concat(tokens).OrderByDescending(t => t.Text.Length)]);

    /// <summary>Whether the text, in any case, stands for a token beside the vocabulary.</summary>
    public bool HasExtra(string text) => extra.Any(t => string.Equals(t.Text, text, StringComparison.OrdinalIgnoreCase));

    /// <summary>
    /// The id of a token's text as vocabularies write it (<c>!</c>, <c>cat&lt;/w&gt;</c>), or of one beside the vocabulary that is a single
    /// id; null where there is none.
    /// </summary>
    public int? Find(string token) =>
        table.Find(token) ?? (extra.FirstOrDefault(t => t.Text == token) is { Ids: [var id] } ? id : null);

    /// <summary>All ids of the text, without start and end.</summary>
    public int[] Encode(string text) => [.. EncodeAll(text, [])];

    /// <summary>The same ids in pieces that belong together: one id, or all those of a learned token.</summary>
    public IReadOnlyList<int[]> EncodePieces(string text)
    {
        var learned = new List<(int Start, int Length)>();
        var ids = EncodeAll(text, learned);
        var pieces = new List<int[]>();
        var done = 0;
        foreach (var (start, length) in learned)
        {
            pieces.AddRange(ids[done..start].Select(id => new[] { id }));
            pieces.Add([.. ids.GetRange(start, length)]);
            done = start + length;
        }

        pieces.AddRange(ids[done..].Select(id => new[] { id }));
        return pieces;
    }

    /// <param name="text">Any text.</param>
    /// <param name="learned">Gets the place of each learned token's ids.</param>
    private List<int> EncodeAll(string text, List<(int Start, int Length)> learned)
    {
        var ids = new List<int>();
        var start = 0;
        for (var i = 0; extra.Length > 0 && i < text.Length;)
        {
            if (extra.FirstOrDefault(t => t.IsAt(text, i)) is { } token)
            {
                Encode(text[start..i], ids);
                learned.Add((ids.Count, token.Ids.Length));
                ids.AddRange(token.Ids);
                start = i += token.Text.Length;
            }
            else
            {
                i++;
            }
        }

        Encode(text[start..], ids);
        return ids;
    }

    private void Encode(string text, List<int> ids)
    {
        foreach (var word in BasicTokenizer.Words(text))
        {
            for (ReadOnlySpan<int> rest = word; rest.Length > 0;)
            {
                int length = PreTokenizer.MatchLength(rest);
                table.Encode(rest[..length], ids);
                rest = rest[length..];
            }
        }
    }

    /// <summary>
    /// Exactly <paramref name="length"/> ids, as text encoders take them: start, the text's ids cut to what fits, end, and then
    /// <paramref name="padding"/>.
    /// </summary>
    public int[] Encode(string text, int length, int padding)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(length, 2);
        var ids = Encode(text).AsSpan();
        ids = ids[..Math.Min(ids.Length, length - 2)];

        var padded = new int[length];
        padded.AsSpan().Fill(padding);
        padded[0] = StartOfText;
        ids.CopyTo(padded.AsSpan(1));
        padded[ids.Length + 1] = EndOfText;
        return padded;
    }
}
