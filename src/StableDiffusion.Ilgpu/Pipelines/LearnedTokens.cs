using StableDiffusion.Ilgpu.Models;
using StableDiffusion.Ilgpu.Text;
using StableDiffusion.Ilgpu.Weights;
using StableDiffusion.Ilgpu.Weights.Embeddings;

namespace StableDiffusion.Ilgpu;

/// <summary>Textual inversion files of a model: new rows of its token table, and the texts that stand for them in prompts.</summary>
internal sealed class LearnedTokens
{
    private readonly List<ExtraToken> tokens = [];
    private readonly List<float[]> vectors = [];
    private readonly List<NamedFile> embeddings = [];
    private readonly Dictionary<string, string> owners = new(StringComparer.OrdinalIgnoreCase);

    /// <param name="files">The embedding files.</param>
    /// <param name="config">The text encoder as it is stored; new ids begin behind its vocabulary.</param>
    /// <exception cref="StableDiffusionException">A file cannot be used, or two files give the same text a meaning.</exception>
    public LearnedTokens(IReadOnlyList<string> files, ClipTextConfig config)
    {
        foreach (var path in files)
        {
            // Start and end take a place each.
            var file = EmbeddingFile.Open(path, config.Hidden, config.Tokens - 2);
            var first = config.Vocabulary + vectors.Count;
            foreach (var token in file.Tokens)
            {
                if (token.Token is { } text && !string.Equals(text, file.Name, StringComparison.OrdinalIgnoreCase))
                {
                    Add(text, path, config.Vocabulary + vectors.Count, token.Vectors.Length);
                }

                vectors.AddRange(token.Vectors);
            }

            Add(file.Name, path, first, config.Vocabulary + vectors.Count - first);
            embeddings.Add(new NamedFile(file.Name, new(file.Sha256[..FileHash.AdditionDigits])));
        }

        void Add(string text, string path, int first, int count)
        {
            if (!owners.TryAdd(text, path))
            {
                throw new StableDiffusionException($"{path}: '{text}' already stands for the embedding of {owners[text]}");
            }

            tokens.Add(new ExtraToken(text, [.. Enumerable.Range(first, count)]));
        }
    }

    public int Count => vectors.Count;

    /// <summary>The files, by their names without extension.</summary>
    public IReadOnlyList<NamedFile> Embeddings => embeddings;

    /// <summary>Those that stand in a prompt, and not only as a part of another one's text.</summary>
    /// <param name="prompt">Any text.</param>
    /// <param name="tokenizer">One that knows these tokens.</param>
    public IEnumerable<NamedFile> EmbeddingsIn(string prompt, ClipTokenizer tokenizer)
    {
        var ids = tokens.Count > 0 ? tokenizer.Encode(prompt).ToHashSet() : [];
        var paths = tokens.Where(t => ids.Contains(t.Ids[0])).Select(t => owners[t.Text]).ToHashSet();
        return embeddings.Where(e => paths.Contains(owners[e.Name]));
    }

    /// <exception cref="StableDiffusionException">A text stands for a token of the model already.</exception>
    public ClipTokenizer Extend(ClipTokenizer tokenizer) =>
        tokens.FirstOrDefault(t => tokenizer.HasExtra(t.Text)) is { } known
            ? throw new StableDiffusionException($"{owners[known.Text]}: '{known.Text}' already stands for a token of the model")
            : tokens.Count > 0 ? tokenizer.With(tokens) : tokenizer;

    public IWeightSource Extend(IWeightSource textEncoder) =>
        vectors.Count > 0 ? new ExtendedTokenTable(textEncoder, vectors) : textEncoder;
}
