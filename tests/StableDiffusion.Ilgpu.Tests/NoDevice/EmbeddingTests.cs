using StableDiffusion.Ilgpu.Tests.Samples;
using StableDiffusion.Ilgpu.Text;
using StableDiffusion.Ilgpu.Weights;
using StableDiffusion.Ilgpu.Weights.Embeddings;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>Textual inversion: files, the words that stand for them, and the rows that they add.</summary>
public sealed class EmbeddingTests : IDisposable
{
    private const int Width = 4;

    private readonly TemporaryFolder folder = new();

    [Fact]
    public void Files_of_other_tools_are_read()
    {
        AssertTokens(new TensorFiles().Add("emb_params", [2, Width], [1, 2, 3, 4, 5, 6, 7, 8]), (null, [[1, 2, 3, 4], [5, 6, 7, 8]]));
        AssertTokens(
            new TensorFiles().Add("string_to_token.*", 265).Add("string_to_param.*", [1, Width], [1, 2, 3, 4]), (null, [[1, 2, 3, 4]]));
        AssertTokens(new TensorFiles().Add("<cat>", [Width], [1, 2, 3, 4]), ("<cat>", [[1, 2, 3, 4]]));
        AssertTokens(
            new TensorFiles().Add("<s0>", [Width], [1, 2, 3, 4]).Add("<s1>", [1, Width], [5, 6, 7, 8]),
            ("<s0>", [[1, 2, 3, 4]]), ("<s1>", [[5, 6, 7, 8]]));
        AssertTokens(new TensorFiles().Add("*", [Width], [1, 2, 3, 4]), (null, [[1, 2, 3, 4]]));

        void AssertTokens(TensorFiles file, params (string? Token, float[][] Vectors)[] expected)
        {
            var opened = EmbeddingFile.Open(file.Write(folder["My Style.v2.safetensors"]), Width, 75);
            Assert.Equal("My Style.v2", opened.Name);
            Assert.Equal(expected.Select(e => e.Token), opened.Tokens.Select(t => t.Token));
            Assert.Equal(expected.SelectMany(e => e.Vectors), opened.Tokens.SelectMany(t => t.Vectors));
        }
    }

    [Fact]
    public void PyTorch_files_are_read()
    {
        File.WriteAllBytes(folder["bold.pt"], TorchFileWriter.Write(TorchFileWriter.Embedding()));
        var file = EmbeddingFile.Open(folder["bold.pt"], 8, 75);
        Assert.Equal(("bold", null), (file.Name, Assert.Single(file.Tokens).Token));
        Assert.Equal(Enumerable.Range(0, 16).Select(i => i / 8f), file.Tokens[0].Vectors.SelectMany(v => v));

        file = EmbeddingFile.Open(
            new TensorFiles().Add("<cat>", [Width], [1, 2, 3, 4]).WriteTorch(folder["learned_embeds.bin"]), Width, 75);
        Assert.Equal(("learned_embeds", "<cat>"), (file.Name, Assert.Single(file.Tokens).Token));
        Assert.Equal([1, 2, 3, 4], Assert.Single(file.Tokens[0].Vectors));
    }

    [Fact]
    public void Files_that_are_no_embeddings_are_refused()
    {
        AssertRefused(new TensorFiles(), "no embedding", "emb_params");
        AssertRefused(new TensorFiles().Add("a.lora_up.weight", [2, 2, 2], new float[8]), "no embedding");
        AssertRefused(new TensorFiles().Add("emb_params", [2, 3], new float[6]), "emb_params", "[2, 3]", "width 3", "takes 4");
        AssertRefused(new TensorFiles().Add("emb_params", [0, Width], []), "0 vectors", "1 to 75");
        AssertRefused(new TensorFiles().Add("emb_params", [76, Width], new float[76 * Width]), "76 vectors", "1 to 75");
        AssertRefused(new TensorFiles().Add("emb_params", [Width], [1, 2, float.NaN, 4]), "emb_params", "not finite");
        WeightsTestFiles.Refused(() => EmbeddingFile.Open("/no/such.pt", Width, 75), "/no/such.pt");

        // Prompts would call it nothing.
        var nameless = new TensorFiles().Add("emb_params", [Width], new float[Width]).Write(folder[".safetensors"]);
        WeightsTestFiles.Refused(() => EmbeddingFile.Open(nameless, Width, 75), nameless, "no name");

        // The number of vectors is looked at before any is read: these would take 16 MiB.
        var large = new TensorFiles().Add("emb_params", TensorType.F8_E4M3, [1 << 20, Width], new byte[Width << 20]).Write(folder["large.safetensors"]);
        var before = GC.GetAllocatedBytesForCurrentThread();
        WeightsTestFiles.Refused(() => EmbeddingFile.Open(large, Width, 75), large, "1048576 vectors");
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 2 << 20);

        void AssertRefused(TensorFiles file, params string[] parts)
        {
            var path = file.Write(folder["bad.safetensors"]);
            WeightsTestFiles.Refused(() => EmbeddingFile.Open(path, Width, 75), [path, .. parts]);
        }
    }

    [Theory]
    [InlineData("a style-x cat", "a |1 2|cat")]
    [InlineData("a Style-X, CAT", "a |1 2|, cat")]
    [InlineData("style-x", "1 2")]
    [InlineData("style-xx mystyle-x style-x1", "style-xx mystyle-x style-x1")]
    [InlineData("(style-x:1.2)", "(|1 2|:1.2)")]
    [InlineData("style-x style-x", "1 2|1 2")]
    [InlineData("style-x-long here", "3|here")]
    [InlineData("a<cat-toy>,<CAT-TOY>", "a|4 5 6|,|4 5 6")]
    [InlineData("", "")]
    public void Words_stand_for_ids(string prompt, string expected)
    {
        var plain = ClipTokenizer.BuiltIn;
        var first = plain.VocabularySize;
        var tokenizer = plain.With(
        [
            new("style-x", [first + 1, first + 2]), new("style-x-long", [first + 3]), new("<cat-toy>", [first + 4, first + 5, first + 6]),
        ]);
        var ids = expected.Split('|').SelectMany(part => part.Length > 0 && part.All(c => char.IsDigit(c) || c == ' ')
            ? part.Split(' ').Select(id => first + int.Parse(id)) : plain.Encode(part));
        Assert.Equal(ids, tokenizer.Encode(prompt));

        var padded = tokenizer.Encode(prompt, 77, plain.EndOfText);
        Assert.Equal([plain.StartOfText, .. ids, plain.EndOfText], padded[..(ids.Count() + 2)]);
    }

    [Fact]
    public void Rows_follow_the_vocabulary_and_prompts_reach_them()
    {
        var name = TinyModels.Names.First();
        using var plain = TinyModels.Load(name);
        var (width, vocabulary) = (plain.TextConfig.Hidden, plain.TextConfig.Vocabulary);
        var random = new Random(5);
        float[] Row() => [.. Enumerable.Range(0, width).Select(_ => (float)random.NextDouble())];
        float[][] rows = [Row(), Row(), Row()];
        var one = new TensorFiles().Add("emb_params", [2, width], [.. rows[0], .. rows[1]]).Write(folder["Blue Thing.safetensors"]);
        var two = new TensorFiles().Add("<toy>", [width], rows[2]).Write(folder["other.safetensors"]);
        using var model = LoadedModel.Open(new ModelOptions { Model = ReferenceData.PathOf(name), Embeddings = [one, two] });
        Assert.Equal(vocabulary + 3, model.TextConfig.Vocabulary);

        var plainIds = plain.Tokenize("a  , a and");
        int[] ids =
            [plainIds[0], plainIds[1], vocabulary, vocabulary + 1, plainIds[2], plainIds[3], vocabulary + 2, plainIds[4], vocabulary + 2];
        Assert.Equal(ids, model.Tokenize("a blue thing, a <toy> and OTHER")[..ids.Length]);

        using var before = plain.OpenWeights(ModelPart.TextEncoder);
        using var after = model.OpenWeights(ModelPart.TextEncoder);
        foreach (var tensor in after.Tensors.Values.Where(t => FloatConversion.IsFloat(t.Type)))
        {
            var (values, halves, old) = (new float[tensor.Count], new ushort[tensor.Count], new float[before.Tensors[tensor.Name].Count]);
            after.Read(tensor.Name, values);
            after.Read(tensor.Name, halves);
            before.Read(tensor.Name, old);
            Assert.Equal(tensor.Name == ExtendedTokenTable.TableName ? [.. old, .. rows.SelectMany(r => r)] : old, values);
            Assert.Equal(values.Select(v => BitConverter.HalfToUInt16Bits((Half)v)), halves);

            // No place of a file holds the longer table.
            Assert.Equal(tensor.Name == ExtendedTokenTable.TableName, after.Locate(tensor.Name) is null);
        }
    }

    [Fact]
    public void A_text_within_a_longer_one_does_not_count_as_used()
    {
        var name = TinyModels.Names.First();
        using var plain = TinyModels.Load(name);
        var width = plain.TextConfig.Hidden;
        var one = new TensorFiles().Add("emb_params", [width], new float[width]).Write(folder["toy.safetensors"]);
        var two = new TensorFiles().Add("<my-toy>", [width], new float[width]).Write(folder["other.safetensors"]);
        using var model = LoadedModel.Open(new ModelOptions { Model = ReferenceData.PathOf(name), Embeddings = [one, two] });
        string[] Used(params string[] prompts) => [.. model.EmbeddingsIn(prompts).Select(e => e.Name)];
        Assert.Equal(["other"], Used("a <my-toy>, toys"));
        Assert.Equal(["toy", "other"], Used("OTHER", "(Toy:1.2)"));
        Assert.Empty(Used("another toyshop"));
    }

    [Fact]
    public void Two_files_of_one_name_are_refused()
    {
        var name = TinyModels.Names.First();
        using var plain = TinyModels.Load(name);
        var width = plain.TextConfig.Hidden;
        var one = new TensorFiles().Add("emb_params", [width], new float[width]).Write(folder["toy.safetensors"]);
        var two = new TensorFiles().Add("TOY", [width], new float[width]).Write(folder["b.safetensors"]);
        WeightsTestFiles.Refused(
            () => LoadedModel.Open(new ModelOptions { Model = ReferenceData.PathOf(name), Embeddings = [one, two] }), two, "'TOY'", one);
    }

    public void Dispose() => folder.Dispose();
}
