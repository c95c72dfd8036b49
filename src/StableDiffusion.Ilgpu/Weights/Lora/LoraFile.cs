namespace StableDiffusion.Ilgpu.Weights.Lora;

/// <summary>What a tensor of a LoRA file is to its module. Names after those of kohya's and LyCORIS' files.</summary>
internal enum LoraRole
{
    Down, Up, Mid, HadaW1A, HadaW1B, HadaW2A, HadaW2B, HadaT1, HadaT2, KronW1, KronW1A, KronW1B, KronW2, KronW2A, KronW2B, KronT2, Alpha,

    /// <summary>How strongly a product counts, in place of alpha / rank.</summary>
    Scale,

    /// <summary>Of a weight-decomposed LoRA: LyCORIS' and kohya's form, PEFT's form.</summary>
    DoraScale, DoraMagnitude,

    /// <summary>What is added to the weight, or the bias, of any module as it is: a matrix, or a norm's vector.</summary>
    Difference, BiasDifference,
}

/// <summary>A LoRA file: its tensors by module and role. Which model the modules belong to is not looked at here.</summary>
internal sealed class LoraFile : IDisposable
{
    private const string HashMetadata = "sshs_model_hash", NameMetadata = "ss_output_name";

    /// <summary>Endings of tensor names in kohya's, LyCORIS', PEFT's, diffusers' and ComfyUI's files; what stands before is the module.</summary>
    private static readonly (string Ending, LoraRole Role)[] Endings =
    [
        (".lora_down.weight", LoraRole.Down), (".lora_up.weight", LoraRole.Up), (".lora_mid.weight", LoraRole.Mid),
        (".lora_A.weight", LoraRole.Down), (".lora_B.weight", LoraRole.Up),
        (".lora_A.default.weight", LoraRole.Down), (".lora_B.default.weight", LoraRole.Up),
        (".lora.down.weight", LoraRole.Down), (".lora.up.weight", LoraRole.Up),
        (".lora_linear_layer.down.weight", LoraRole.Down), (".lora_linear_layer.up.weight", LoraRole.Up),
        ("_lora.down.weight", LoraRole.Down), ("_lora.up.weight", LoraRole.Up),
        (".hada_w1_a", LoraRole.HadaW1A), (".hada_w1_b", LoraRole.HadaW1B),
        (".hada_w2_a", LoraRole.HadaW2A), (".hada_w2_b", LoraRole.HadaW2B),
        (".hada_t1", LoraRole.HadaT1), (".hada_t2", LoraRole.HadaT2),
        (".lokr_w1", LoraRole.KronW1), (".lokr_w1_a", LoraRole.KronW1A), (".lokr_w1_b", LoraRole.KronW1B),
        (".lokr_w2", LoraRole.KronW2), (".lokr_w2_a", LoraRole.KronW2A), (".lokr_w2_b", LoraRole.KronW2B), (".lokr_t2", LoraRole.KronT2),
        (".alpha", LoraRole.Alpha), ("_lora.alpha", LoraRole.Alpha), (".scale", LoraRole.Scale),
        (".dora_scale", LoraRole.DoraScale),
        (".diff", LoraRole.Difference), (".w_norm", LoraRole.Difference),
        (".diff_b", LoraRole.BiasDifference), (".b_norm", LoraRole.BiasDifference),
        (".lora_magnitude_vector", LoraRole.DoraMagnitude), (".lora_magnitude_vector.weight", LoraRole.DoraMagnitude),
        (".lora_magnitude_vector.default", LoraRole.DoraMagnitude), (".lora_magnitude_vector.default.weight", LoraRole.DoraMagnitude),
    ];

    private readonly Dictionary<string, Dictionary<LoraRole, TensorInfo>> modules = [];
    private readonly List<string> unknown = [];

    private readonly Lazy<PeftAlphas> alphas;

    private LoraFile(IWeightFile source)
    {
        Source = source;
        alphas = new(() => PeftAlphas.Of(source));
    }

    public IWeightFile Source { get; }

    public IReadOnlyDictionary<string, Dictionary<LoraRole, TensorInfo>> Modules => modules;

    /// <summary>Tensors of no role that is known.</summary>
    public IReadOnlyList<string> Unknown => unknown;

    /// <summary>What its trainer called it, which AUTOMATIC1111's web UI writes into prompts; null where the file does not tell.</summary>
    public string? TrainersName => (Source as SafetensorsFile)?.FindMetadata(NameMetadata);

    /// <summary>The <see cref="TrainersName"/> of a file; null also where it cannot be read.</summary>
    public static string? TrainersNameOf(string path)
    {
        try
        {
            using var file = Open(path);
            return file.TrainersName;
        }
        catch (StableDiffusionException)
        {
            return null;
        }
    }

    /// <exception cref="StableDiffusionException">The file cannot be read.</exception>
    public static LoraFile Open(string path)
    {
        var file = new LoraFile(WeightFile.Open(path));
        try
        {
            foreach (var tensor in file.Source.Tensors.Values)
            {
                file.Add(tensor);
            }

            return file;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>
    /// The 12 digits that AUTOMATIC1111's web UI knows the file by: of the hash that trainers write into the metadata, else of the SHA-256 of
    /// a safetensors file behind its header, so that changed metadata do not change it; of other files, of all of them.
    /// </summary>
    /// <exception cref="StableDiffusionException">The file cannot be read.</exception>
    public string ShortHash()
    {
        var hash = Source is not SafetensorsFile safe ? Source.Sha256()
            : safe.FindMetadata(HashMetadata) is { Length: >= FileHash.AdditionDigits } written && written.All(char.IsAsciiHexDigit) ? written
            : safe.Sha256(safe.DataStart);
        return hash[..FileHash.AdditionDigits];
    }

    /// <summary>What a product of this rank counts where the module has no alpha of its own: 1, unless PEFT's settings say otherwise.</summary>
    /// <exception cref="StableDiffusionException">Those settings cannot be read.</exception>
    public double FactorOf(string module, long rank) => alphas.Value.FactorOf(module, rank);

    public void Dispose() => Source.Dispose();

    public StableDiffusionException Error(string problem) => new($"{Source.Description}: {problem}");

    private void Add(TensorInfo tensor)
    {
        var (ending, role) = Endings.FirstOrDefault(e => tensor.Name.EndsWith(e.Ending, StringComparison.Ordinal));
        if (ending is null)
        {
            unknown.Add(tensor.Name);
            return;
        }

        var module = tensor.Name[..^ending.Length];
        if (!modules.TryGetValue(module, out var roles))
        {
            modules[module] = roles = [];
        }

        if (!roles.TryAdd(role, tensor))
        {
            throw Error($"{roles[role].Name} and {tensor.Name} mean the same tensor");
        }
    }
}
