# The programs of the README, cut short: what they are asked is what the README says, only smaller.

small="{model_type: resnet, layer_type: basic, embedding_size: 8, hidden_sizes: [8, 16], depths: [1, 1], out_features: [stage2]}"
network=(--model.backbone_config "$small" --model.freeze_backbone_stages 0 --model.d_model 16 --model.encoder_layers 1)
network+=(--model.decoder_layers 2 --model.encoder_attention_heads 2 --model.decoder_attention_heads 2)
network+=(--model.encoder_ffn_dim 16 --model.decoder_ffn_dim 16 --model.num_object_queries 8)
run=(--data.short_edges "[64]" --data.test_short_edge 64 --data.longest_edge 64 --data.crop_probability 0 --data.num_workers 0)
run+=(--training.max_steps 2 --training.batch_size 4 --training.milestones "[1]" --training.mixed_precision "no")
run+=(--evaluation.steps 0 --evaluation.max_images 4 --training.overwrite true)

make() {
    case "$1" in
    demo) command python training/demo.py --num_images 40 --training.max_steps 2 --evaluation.steps 0 ;;
    test) echo "the tests run apart from this" ;;
    *) command make "$@" ;;
    esac
}

pip() { command python -m pip install --quiet --dry-run --no-deps --no-build-isolation "${@: -1}"; }

hf() { [ "$1" = auth ] || command hf "$@"; }

accelerate() {
    local words=("${@//--num_processes 8/}")
    case "$*" in
    *pretrain_detector.py*) command accelerate "$@" --model.backbone null "${network[@]}" "${run[@]}" ;;
    *tiny.yaml*) command accelerate "$@" "${run[@]}" ;;
    *--model.detr*) command accelerate "$@" "${run[@]}" ;;
    *training/train.py*) command accelerate "$@" "${network[@]}" "${run[@]}" ;;
    *training/evaluate.py*) command accelerate "$@" --max_images 4 --replicates 10 ;;
    *) command accelerate "${@/#8/2}" ;;
    esac
}

speaq() {
    case "$*" in
    app*--write-space*) command speaq "$@" ;;
    app*) serve_app "$@" ;;
    generate-data*) command speaq "$@" --num-images 40 ;;
    train*) command speaq "$@" --training.max_steps 2 --training.batch_size 2 --evaluation.steps 0 ;;
    bench*) command speaq "$@" --repeats 2 ;;
    predict*photos*) command speaq "$@" || [ $? -eq 1 ] ;; # one of the photos is no image, and said to be
    *) command speaq "$@" ;;
    esac
}

# Starts the web app, asks it for its page, and ends it.
serve_app() {
    command speaq "$@" --port 7871 &
    local app=$!
    for _ in $(seq 120); do
        sleep 1
        if python -c "import urllib.request as u; u.urlopen('http://127.0.0.1:7871').read()" 2>/dev/null; then
            kill $app
            wait $app || true
            return 0
        fi
    done
    kill $app
    return 1
}
